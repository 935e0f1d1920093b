"""The paths at which KServe's agents, load balancers and clients probe, for what stands before the routes: they need no key and no log."""

# A model is named there as in requests: wren, wren@challenger and wren:3.
PROBES = r"/v2/health/(live|ready)|/v1/models/[^/]+(?<!:predict)|/v2/models/[^/]+(/versions/[^/]+)?/ready"
