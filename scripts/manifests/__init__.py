"""Check k8s/: render every overlay with every choice of components, and check the result without a cluster.

    make manifests

The checks are the schemas of Kubernetes and KServe, where unknown keys are errors; the rules of KServe's admission webhooks beyond
them; and our own invariants. checks.py lists them: functions that are named by what must hold.
"""
