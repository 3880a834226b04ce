#!/usr/bin/env python3
"""Counts the instructions that a tunnel spends on a packet, and says where it spends them.

usage: callgrind.py [--rounds N] RSTUN [RSTUN..]

Each RSTUN is a binary with symbols and lines, as `cargo build --profile profiling` makes it; where there are
several, their figures stand side by side in the order given. A server and a client run under callgrind in a network
namespace of their own. A TCP stream goes up through them, so that the client is the sender: once with packets for an
Ethernet's MTU, once with those that loopback takes. Then small requests and their answers go one after the other.

Only user code is counted, and only from a load's first byte to its last: no start-up, no handshake. What a receiver
spends, acknowledgements and all, is divided by the packets that the sender sealed. Valgrind knows no AVX-512, so the
cipher goes its older way. Programs that run so slowly find more waiting whenever they look than they would otherwise:
what is counted is a path under load, with few wake-ups. Figures are medians of the rounds.

Needs valgrind, iproute2 and util-linux, and the right to make a network namespace.
"""
import argparse
import atexit
import collections
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import typing

PASSWORD = 'callgrind'
CHUNK = 64 * 1024
REQUEST = 64

# One instruction copies as much as you like, but callgrind counts it once for each byte.
NO_STRING_INSTRUCTIONS = 'glibc.cpu.x86_rep_movsb_threshold=0x7fffffff:glibc.cpu.x86_rep_stosb_threshold=0x7fffffff'

# In the order of the table.
PLACES = ['crypto', 'quinn-proto', 'quinn and quinn-udp', 'tokio', 'our transport', 'our relay', 'the rest of ours',
          'copying', 'allocation', 'other']
CRATES = {'rustls': 'crypto', 'aws-lc-rs': 'crypto', 'aws-lc-sys': 'crypto', 'quinn-proto': 'quinn-proto',
          'quinn': 'quinn and quinn-udp', 'quinn-udp': 'quinn and quinn-udp', 'tokio': 'tokio', 'tokio-util': 'tokio',
          'mio': 'tokio'}
# What serves everybody is counted for whoever calls it.
SHARED = ['core', 'alloc', 'std', 'bytes', 'hashbrown', 'tinyvec', 'slab', 'smallvec']
COPYING = re.compile(r'_*(mem(cpy|move|set|cmp)|bcmp)')
ALLOCATION = re.compile(r'_*(malloc|calloc|realloc|free|int_(malloc|realloc|free)|sysmalloc|systrim|s?brk|unlink_chunk'
                        r'|alloc_perturb|glibc_morecore)\b')

# The AEAD's function that seals a packet, with the prefix of its library's version.
SEALED = re.compile(r'(aws_lc_\w+_)?EVP_AEAD_CTX_seal_scatter')
SYSTEM_CALLS = ['sendmsg', 'sendmmsg', 'recvmsg', 'recvmmsg', 'send', 'recv', 'read', 'write', 'readv', 'writev',
                'epoll_wait', 'epoll_ctl', 'syscall']


def place_of_crate(crate):
    """None for one that serves everybody."""
    crate = crate.replace('_', '-')
    return None if crate in SHARED else CRATES.get(crate, 'other')


def place_of_ours(path):
    """The place of a module of ours, by its path."""
    return {'transport': 'our transport', 'relay': 'our relay'}.get(re.match(r'\w*', path)[0], 'the rest of ours')


def place_of_file(path):
    """The place of a source file, which for inlined code is another than its function's; none for shared code."""
    if crate := re.search(r'/registry/src/[^/]+/([\w-]+?)-\d', path):
        return place_of_crate(crate[1])
    if '/aws-lc/' in path:
        return 'crypto'
    if path.startswith(('/rustc/', '/rust/deps/')) or not path.endswith('.rs'):
        return None
    return place_of_ours(path.rpartition('/src/')[2])


def place_of_function(name):
    """The place of a function, by its name alone; none for shared code."""
    if name.startswith('aws_lc_'):
        return 'crypto'
    path = re.match(r'[<&\s]*(?:mut |dyn )?(\w+)::(\w*)', name)
    if not path:
        return None
    return place_of_ours(path[2]) if path[1] == 'rstun' else place_of_crate(path[1])


def place_of(function, file):
    """Where an instruction belongs."""
    if COPYING.match(function):
        return 'copying'
    if ALLOCATION.match(function):
        return 'allocation'
    return place_of_file(file) or place_of_function(function)


class Profile:
    """What callgrind wrote: what lines cost, and what their calls cost."""

    def __init__(self, path):
        self.own, self.calls, self.passed = (collections.Counter() for _ in range(3))
        function = file = callee = None
        with open(path) as lines:
            for line in lines:
                key, _, value = line.rstrip('\n').partition('=')
                if key == 'fn':
                    function = value
                elif key in ('fl', 'fi', 'fe'):
                    file = value
                elif key == 'cfn':
                    callee = value
                elif key == 'calls':
                    self.calls[callee] += int(value.split()[0])
                elif re.match(r'[-+*\d]', line):
                    cost = int(line.split()[1])
                    if callee:
                        # The line after one of calls has what they cost, all that they called included.
                        self.passed[callee, function, file] += cost
                        callee = None
                    else:
                        self.own[function, file] += cost

    def called(self, pattern):
        """How often functions of such a name were called."""
        return sum(n for function, n in self.calls.items() if pattern.fullmatch(function))

    def by_place(self):
        """Instructions in each place. What a shared function spends goes to its callers, and on to theirs if they are
        shared too, in the proportion of what their calls of it cost."""
        places, shared = collections.Counter(), collections.Counter()
        callers = collections.defaultdict(list)
        for (callee, function, file), cost in self.passed.items():
            if callee != function:
                callers[callee].append((place_of(function, file), function, cost))
        for (function, file), cost in self.own.items():
            place = place_of(function, file)
            (places if place else shared)[place or function] += cost
        for _ in range(20):
            handed_on, shared = shared, collections.Counter()
            for callee, cost in handed_on.items():
                total = sum(weight for _, _, weight in callers[callee])
                for place, function, weight in callers[callee]:
                    (places if place else shared)[place or function] += cost * weight / max(total, 1)
        places['other'] += sum(self.own.values()) - sum(places.values())
        return places


class End:
    """A server or a client under callgrind."""

    def __init__(self, name, command, ready):
        self.name = name
        callgrind = ['valgrind', '--tool=callgrind', '--compress-strings=no', f'--callgrind-out-file={name}.out']
        environment = os.environ | {'GLIBC_TUNABLES': NO_STRING_INSTRUCTIONS}
        self.process = subprocess.Popen(callgrind + command, env=environment, stderr=subprocess.PIPE, text=True)
        atexit.register(self.process.kill)
        self.parts = 0
        said = []
        for line in self.process.stderr:
            said.append(line)
            if ready in line:
                break
        else:
            sys.exit(f'{name} does not start:\n' + ''.join(said))
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def control(self, order):
        subprocess.run(['callgrind_control', order, str(self.process.pid)], check=True, capture_output=True)

    def begin(self):
        """Counts from here."""
        self.control('-z')

    def end(self):
        """What was counted since."""
        self.control('-d')
        self.parts += 1
        return Profile(f'{self.name}.out.{self.parts}')

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Tunnel:
    """A client and a server of it, and one flow through both."""

    def __init__(self, rstun):
        sink = socket.create_server(('127.0.0.1', 0))
        target = '127.0.0.1:%d' % sink.getsockname()[1]
        subprocess.run([rstun, 'keygen', '--force'], check=True, capture_output=True)
        common = ['--password', PASSWORD, '--cert', 'certificate.der']
        self.server = End('server', [rstun, 'server', '--addr', '127.0.0.1:6060', '--key', 'priv_key.der',
                                     '--downstream', target] + common, 'listening on')
        self.client = End('client', [rstun, 'client', '--server-addr', '127.0.0.1:6060', '-L', f'6061^{target}']
                          + only_quic(rstun) + common, 'connected to')
        self.near = socket.create_connection(('127.0.0.1', 6061))
        self.near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sink.settimeout(60)
        self.far, _ = sink.accept()
        self.far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def upload(self, size):
        """Moves so many bytes up."""
        def send():
            for _ in range(size // CHUNK):
                self.near.sendall(bytes(CHUNK))
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        receive(self.far, size // CHUNK * CHUNK)
        sender.join()

    def requests(self, count):
        """Sends so many small requests, each after the answer to the one before it."""
        for _ in range(count):
            self.near.sendall(bytes(REQUEST))
            receive(self.far, REQUEST)
            self.far.sendall(bytes(REQUEST))
            receive(self.near, REQUEST)

    def count(self, load):
        """What both ends spend on a load."""
        load.run(self, load.warm_up)
        for end in self.client, self.server:
            end.begin()
        load.run(self, load.amount)
        return self.client.end(), self.server.end()

    def stop(self):
        self.client.stop()
        self.server.stop()


def only_quic(rstun):
    """A program that runs so slowly would fall back to TCP; commits before the fallback do not know the flag."""
    usage = subprocess.run([rstun, 'client', '--help'], check=True, capture_output=True, text=True).stdout
    return ['--transport', 'quic'] if '--transport' in usage else []


def receive(connection, size):
    while size:
        taken = len(connection.recv(min(size, 1 << 20)))
        if not taken:
            sys.exit('the tunnel broke')
        size -= taken


class Load(typing.NamedTuple):
    """What goes through a tunnel to be counted."""
    ends: tuple
    mtu: int
    run: typing.Callable
    amount: int
    warm_up: int
    # Bytes that go in at the client for each of the amount.
    size: int


MIB = 1 << 20
LOADS = {
    '1452-byte packet': Load(('sender', 'receiver'), 1452 + 28, Tunnel.upload, 32 * MIB, 8 * MIB, 1),
    '16 KB packet': Load(('sender', 'receiver'), 65536, Tunnel.upload, 128 * MIB, 16 * MIB, 1),
    'request': Load(('client', 'server'), 65536, Tunnel.requests, 2000, 200, REQUEST),
}


def measure(rstun, load):
    """What each end spends on a packet that the client sends: instructions in each place, and other counts."""
    subprocess.run(['ip', 'link', 'set', 'lo', 'mtu', str(load.mtu), 'up'], check=True)
    tunnel = Tunnel(rstun)
    profiles = tunnel.count(load)
    tunnel.stop()
    packets = profiles[0].called(SEALED)
    if not packets:
        sys.exit(f'{rstun} has no symbols: build it with --profile profiling')
    return [figures(profile, packets) | {'bytes carried': load.amount * load.size / packets} for profile in profiles]


def figures(profile, packets):
    places = profile.by_place()
    all_of_them = {'all': sum(places.values()), 'system calls': sum(profile.calls[name] for name in SYSTEM_CALLS)}
    return {row: n / packets for row, n in (places | all_of_them).items()}


def table(rounds):
    """Prints the medians as Markdown; `rounds` has what each binary's rounds measured, by load and end."""
    columns = [(load, end) for load in LOADS for end in (0, 1)]
    heads = ['instructions in'] + [f'{load}, {LOADS[load].ends[end]}' for load, end in columns]
    print('| ' + ' | '.join(heads) + ' |')
    print('|---' * len(heads) + '|')
    for row in PLACES + ['all', 'system calls', 'bytes carried']:
        cells = [' / '.join(median(each, load, end, row) for each in rounds) for load, end in columns]
        print(f'| {row} | ' + ' | '.join(cells) + ' |')


def median(rounds, load, end, row):
    n = statistics.median(measured[load][end].get(row, 0) for measured in rounds)
    return f'{n:.2f}' if row == 'system calls' else f'{n:,.0f}'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('rstun', nargs='+')
    parser.add_argument('--rounds', type=int, default=3)
    args = parser.parse_args()
    binaries = [os.path.abspath(rstun) for rstun in args.rstun]
    if 'OWN_NAMESPACE' not in os.environ:
        # The MTU of loopback is everybody's.
        os.environ['OWN_NAMESPACE'] = 'yes'
        os.execvp('unshare', ['unshare', '--map-root-user', '--net', sys.executable] + sys.argv)
    rounds = [[] for _ in binaries]
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        for n in range(args.rounds):
            for rstun, measured in zip(binaries, rounds):
                measured.append({name: measure(rstun, load) for name, load in LOADS.items()})
                print(f'round {n + 1} of {args.rounds}: {rstun}', file=sys.stderr)
    table(rounds)


if __name__ == '__main__':
    main()
