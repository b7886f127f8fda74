"""The measuring networks of the originals, with weights from files that the user gives (study.md section 7)."""
