"""HTTP/1.1 as `http` and `webdav` speak it: the conversation with one place, and what a status means.

`h11` knows the protocol; the socket is ours, so that every step has its deadline and bytes stream both ways.
"""
