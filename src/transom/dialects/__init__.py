"""Wire formats: bytes in, a small typed call out; and back, byte for byte but for the model's name. No I/O."""
