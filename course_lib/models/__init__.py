"""The networks of the course, in Keras 3: codes of events in, logits at every position out."""
