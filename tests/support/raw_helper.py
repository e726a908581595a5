"""A helper's side of the relay's socket, as small as it can be: code for kernels and commands."""

CODE = '''
import json, os, socket, threading

class RawHelper:
    """One connection to the relay."""

    def __init__(self, path=None):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path or os.environ["WORKBENCH_RELAY"])
        self.file = self.socket.makefile("rb")

    def send(self, helper, arguments=None, **more):
        request = {"helper": helper, **more}
        if "arguments_path" not in more:
            request["arguments"] = {} if arguments is None else arguments
        self.socket.sendall(json.dumps(request).encode() + b"\\n")

    def receive(self):
        """Give the next line; None when the connection is closed."""
        line = self.file.readline()
        return json.loads(line) if line else None

    def call(self, helper, arguments=None, **more):
        """Give the answer, and what came before it."""
        self.send(helper, arguments, **more)
        progress = []
        while (reply := self.receive()) is not None and "progress" in reply:
            progress.append(reply["progress"])
        if reply is not None and progress:
            reply["told"] = progress
        return reply

    def close(self):
        self.file.close()
        self.socket.close()

_threads = threading.local()

def call(helper, arguments=None, **more):
    """Call over a connection of this thread."""
    if not hasattr(_threads, "helper"):
        _threads.helper = RawHelper()
    return _threads.helper.call(helper, arguments, **more)
'''
