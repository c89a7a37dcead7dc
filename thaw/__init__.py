"""Transfer-learning recipes as small functions on tensors, tables and files.

Nothing here knows DVC, Prefect, MLflow or YAML: `stages/` reads parameters and writes
outputs, `pipelines/` runs and records the stages.
"""
