"""The whole put together: declared files to a running door, a door to a process. The only package that knows all."""
