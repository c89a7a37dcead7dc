"""One module per DVC stage: read parameters, call `thaw`, write outputs."""
