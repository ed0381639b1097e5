"""``ghostedge features``: what the layers of a network make of a picture, float beside int8."""
