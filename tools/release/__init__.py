"""`make release VERSION=1.2.3`: the version in all files, the changelog, and the files of dist/."""
