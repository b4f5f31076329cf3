"""Along the route: in which order targets are asked, which may be, and when once more. Decisions apart from the I/O."""
