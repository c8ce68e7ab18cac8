"""Room message: the bytes of a message: header block, trace fields, signature."""
