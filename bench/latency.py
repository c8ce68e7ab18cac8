"""Latency at a steady low rate: latency.py SMTP_PORT SINK_PORT MESSAGES [RATE]. One process holds both ends, one clock.

Prints JSON: milliseconds from the final dot to 250, and from 250 to the message's arrival at the next hop.
"""

import asyncio
import json
import sys
import time

HEAD = b"X-Number: %d\r\nFrom: <bench@sender.example>\r\nSubject: latency\r\n\r\n"
BODY = (b"x" * 76 + b"\r\n") * 131
arrived: dict[int, float] = {}


class Sink(asyncio.Protocol):
    """Takes every message and notes when its final dot came."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.buffer, self.in_data = transport, b"", False
        transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            end = b"\r\n.\r\n" if self.in_data else b"\r\n"
            found = self.buffer.find(end)
            if found < 0:
                return
            part, self.buffer = self.buffer[:found], self.buffer[found + len(end) :]
            self.answer(part)

    def answer(self, part: bytes) -> None:
        if self.in_data:
            self.in_data = False
            at = part.find(b"X-Number: ")
            if at >= 0:
                arrived.setdefault(int(part[at + 10 :].split(b"\r\n", 1)[0]), time.monotonic())
        elif part.upper().startswith(b"EHLO"):
            self.transport.write(b"250-sink\r\n250 PIPELINING\r\n")
            return
        elif part.upper() == b"DATA":
            self.in_data = True
            self.transport.write(b"354 go on\r\n")
            return
        elif part.upper() == b"QUIT":
            self.transport.write(b"221 bye\r\n")
            self.transport.close()
            return
        self.transport.write(b"250 ok\r\n")


async def send(number: int, port: int, dotted: dict[int, float], taken: dict[int, float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def reply() -> None:
        while (await reader.readline())[3:4] == b"-":
            continue

    await reply()
    for command in (b"EHLO client", b"MAIL FROM:<b@sender.example>", b"RCPT TO:<u@rcpt.example>", b"DATA"):
        writer.write(command + b"\r\n")
        await reply()
    writer.write(HEAD % number + BODY + b".\r\n")
    dotted[number] = time.monotonic()
    await reply()
    taken[number] = time.monotonic()
    writer.write(b"QUIT\r\n")
    await reader.read()
    writer.close()


def spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {f"p{p}": round(ordered[int(len(ordered) * p / 100)] * 1000, 2) for p in (50, 99)}


async def main() -> None:
    smtp, sink, count = (int(text) for text in sys.argv[1:4])
    rate = float(sys.argv[4]) if len(sys.argv) > 4 else 50.0
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", sink, backlog=1024)
    dotted: dict[int, float] = {}
    taken: dict[int, float] = {}
    begun = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
            tasks.create_task(send(number, smtp, dotted, taken))
    until = time.monotonic() + 20
    while len(arrived) < count and time.monotonic() < until:
        await asyncio.sleep(0.02)
    counted = [n for n in range(min(25, count // 4), count) if n in arrived]  # without the first connections
    result = {
        "arrived": len(arrived),
        "dot_to_250": spread([taken[n] - dotted[n] for n in counted]),
        "250_to_arrival": spread([arrived[n] - taken[n] for n in counted]),
    }
    print(json.dumps(result))
    server.close()


asyncio.run(main())
