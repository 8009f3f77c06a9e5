# The job that brings the database's tables up to date, and ends.

# Credentials of the role that owns the tables, for a quarter of an hour.
path "database/creds/migrate" {
  capabilities = ["read"]
}
