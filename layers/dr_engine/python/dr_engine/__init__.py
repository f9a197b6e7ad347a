"""The core put to work with the modules.

`intake` takes requests, `plan` checks and resolves manifests, `executor` starts and checks resources; `schema` and `target_role` write
files from what the modules declare.
"""
