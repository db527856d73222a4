"""Ray, Optuna, MLflow and Parquet: one file per tool, imported by the commands alone."""

import os

# Ray and MLflow send usage statistics to their makers unless the environment says otherwise; both
# read it when they are imported or start. A user who sets these variables has the last word.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
