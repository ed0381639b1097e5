"""Measurements as something to see: tables, a page, a picture, Markdown. Nothing is measured here.

A table is a selection of columns: ``columns`` fills and draws them; ``result_columns``
and ``layer_columns`` are those that several tables share; ``tables``, ``bench_tables`` and
``comparison_tables`` are the terminal's. A report is gathered by ``contents``,
worded by ``words`` and ``sentences``, worked out by ``figures`` and drawn by ``charts`` in the
style of ``drawing``; ``page`` (with ``templates/``), ``picture`` and ``markdown`` are its three
forms.
"""
