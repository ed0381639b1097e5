"""Where an int8 network loses accuracy, tensor by tensor."""
