"""The local store: every run, in one SQLite file under the rootdir.

Open it with `connection.open_store`; change it by `writing`, ask it by `reading`.
The API key is never in it.
"""
