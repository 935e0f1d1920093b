"""The Kubeflow run of which the tests' step is a part."""

KFP_RUN = "0c5a2b0e-0000-0000-0000-000000000001"
