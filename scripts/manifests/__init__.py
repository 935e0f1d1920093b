"""The checks of k8s/: every overlay with every choice of components is rendered, and judged without a cluster.

    make manifests

What is judged: the schemas of Kubernetes and KServe with unknown keys refused, what KServe's admission webhooks refuse beyond
them, and our own invariants, each a function named by what holds (checks.py lists them).
"""
