"""The device's end of ``ghostedge bench --device ssh://…``.

`ghostedge.devices` on the user's machine starts ``python -m ghostedge_runtime.remote VERB``
over SSH, once for every step: `server` has them all. Each prints its answers as lines that begin
with `REPLY`, so that whatever a login shell prints besides is told apart.

Only the standard library is imported until a run measures: the verbs work on a device that has
Python and nothing else. Not covered: the connection, which is the system's OpenSSH alone.
"""

REPLY = "ghostedge-reply "
"""What a line for the other end begins with; JSON follows."""
