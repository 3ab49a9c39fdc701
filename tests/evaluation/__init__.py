"""Questions over the sample tables with the SQL that answers them, and the comparison of the two."""
