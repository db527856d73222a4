"""Ray, Optuna, MLflow and Parquet: one file per tool, imported by the commands alone."""
