"""The pipeline on a cluster: compiled with the project's section `platform`, submitted to Kubeflow, and followed."""
