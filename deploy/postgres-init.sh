#!/bin/sh
# At the first start of PostgreSQL: a role and a database for SeaweedFS beside those for Kelp.
set -eu
psql -v ON_ERROR_STOP=1 -v password="$SEAWEEDFS_DATABASE_PASSWORD" -U "$POSTGRES_USER" -d "$POSTGRES_DB" <<'SQL'
CREATE ROLE seaweedfs LOGIN PASSWORD :'password';
CREATE DATABASE seaweedfs OWNER seaweedfs;
SQL
