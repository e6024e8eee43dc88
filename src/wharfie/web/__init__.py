"""web: the HTTP seam. Server (`server.serve`), what a handler gets (`request.Request`) and gives (`response.*`), and
the client's half without I/O (`exchange`). h11 reads heads; bodies, hijack and sendfile are ours: no library hands a
socket over without losing bytes."""
