"""The command line, one module per group of commands. `kelp.py` joins them and adds `serve`.

A command opens the data folder itself (`cli.drive`), asks the core, and shows the answer (`cli.display`): a table
for people on a terminal, one line per row with tabs between the columns when the output goes elsewhere, JSON when
asked for. It works beside a running server, since all truth is in the database.
"""
