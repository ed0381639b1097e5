"""Measurements as something to show: a page, a picture, or Markdown.

``contents`` gathers what is shown, ``words`` says it; ``pareto``, ``distributions`` and ``figures``
work out what is drawn, ``charts`` and ``small_charts`` draw it with matplotlib; ``page``,
``picture`` and ``markdown`` are the three forms. Nothing is measured here.
"""
