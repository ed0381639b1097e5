"""``python -m ghostedge`` is the ``ghostedge`` command."""

from ghostedge.cli import main

if __name__ == "__main__":
    main()
