"""The Prefect server of this machine or team: started, asked, guarded, cleaned up.

Binds to loopback unless told otherwise, answers its own pages only, and is never needed for a
mix.
"""
