"""Sample applications: what creates them in both Regions of a local cloud, and what the cloud says of them."""
