"""What is kept as something to see: tables, a page, a picture, or Markdown.

``contents`` gathers what is shown, ``columns`` is what a table is made of, ``words`` puts values
into text; ``figures`` works out what is drawn, ``charts`` draws it with matplotlib; ``tables`` are
for the terminal; ``page``, ``picture`` and ``markdown`` are a report's three forms. Nothing is
measured here.
"""
