"""The pipeline's steps: one folder each, and the few small modules that they share."""
