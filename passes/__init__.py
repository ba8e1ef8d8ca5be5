"""What is found out about a model: passes over the IR, the manager that runs them, and the report they add up to.

Import the module that you need (``graphs.passes.manager``, ``graphs.passes.base``): this one stays empty, so that
naming the passes (:mod:`graphs.passes.index`) costs a command line nothing.
"""
