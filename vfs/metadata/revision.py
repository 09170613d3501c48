"""Which schema this Kelp has. Apart from the tables, which take 0.1 s to describe: most processes need only this."""

REVISION = "0010"  # the newest migration; a database that says so is not looked at further
