"""Running lessons: their list, their parameters, papermill runs, the report, the build.

`lessons` knows the files, `parameters` what may be passed to them, `execution` runs one
notebook or a grid of them, `report` gathers results and claims, `build` stores notebooks.
"""
