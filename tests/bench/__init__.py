"""The budgets, measured in one run: smentry in turns with tini, dumb-init, catatonit and a bare interpreter.

`python -m tests.bench` from the top of the repository. Each module measures one group of rows.
"""
