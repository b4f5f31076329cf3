"""The benchmark harness: one load, one stand-in upstream, several gateways before it, in the same run."""
