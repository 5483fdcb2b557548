"""A stand-in for services, which answers each request at once, and costs little beside the program that is measured."""

import re
import socket
import threading


class Server:
    """Answers requests with `answer(operation, body)`: the operation of AWS's JSON protocol, or None for any other POST."""

    def __init__(self, answer):
        self.answer = answer
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def environment(self):
        """Returns the variables that send requests to AWS here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
        }

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.connection, args=[client], daemon=True).start()

    def connection(self, client):
        try:
            self.serve(client)
        except ConnectionError:
            # A program that has what it wanted closes its connections, whatever is on the way.
            pass

    def serve(self, client):
        rest = b""
        while True:
            while b"\r\n\r\n" not in rest:
                more = client.recv(1 << 16)
                if not more:
                    return
                rest += more
            head, rest = rest.split(b"\r\n\r\n", 1)
            length = int(re.search(rb"(?i)content-length: *(\d+)", head)[1])
            if re.search(rb"(?i)expect: *100-continue", head):
                client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            target = re.search(rb"(?i)x-amz-target: *\S*\.(\w+)", head)
            body = bytearray(length)
            read = min(length, len(rest))
            body[:read], rest = rest[:read], rest[read:]
            view = memoryview(body)
            while read < length:
                more = client.recv_into(view[read:])
                if not more:
                    return
                read += more
            answer = self.answer(target and target[1].decode(), body)
            client.sendall(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: %d\r\n\r\n" % len(answer)
            )
            client.sendall(answer)
