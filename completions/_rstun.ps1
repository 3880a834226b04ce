
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'rstun' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'rstun'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'rstun' {
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('server', 'server', [CompletionResultType]::ParameterValue, 'Stand where both sides reach it, and carry clients'' tunnels')
            [CompletionResult]::new('client', 'client', [CompletionResultType]::ParameterValue, 'Connect to a server, and keep tunnels up')
            [CompletionResult]::new('connect', 'connect', [CompletionResultType]::ParameterValue, 'Connect standard input and output to a target at the server''s side, once')
            [CompletionResult]::new('tunnel', 'tunnel', [CompletionResultType]::ParameterValue, 'Change or show the tunnels of a client that runs')
            [CompletionResult]::new('reload', 'reload', [CompletionResultType]::ParameterValue, 'Have a server or a client that runs read its configuration again')
            [CompletionResult]::new('stop', 'stop', [CompletionResultType]::ParameterValue, 'Have a server or a client that runs end in order')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show how a server or a client is that runs')
            [CompletionResult]::new('check', 'check', [CompletionResultType]::ParameterValue, 'Check a server''s or a client''s flags and files, and the way to the server, step by step')
            [CompletionResult]::new('ticket', 'ticket', [CompletionResultType]::ParameterValue, 'Print what a client needs to know of the server here, as one word')
            [CompletionResult]::new('service', 'service', [CompletionResultType]::ParameterValue, 'Have systemd run a server or a client')
            [CompletionResult]::new('keygen', 'keygen', [CompletionResultType]::ParameterValue, 'Make a key and a certificate for a server, or a client''s key or secret')
            [CompletionResult]::new('bench', 'bench', [CompletionResultType]::ParameterValue, 'Measure what a tunnel does, on this machine or to a server')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'rstun;server' {
            [CompletionResult]::new('--addr', '--addr', [CompletionResultType]::ParameterName, 'Address to listen on, by UDP and by TCP; a bare port means all addresses, and a range 6060-6099 all of its ports by UDP, for clients to change between')
            [CompletionResult]::new('--downstream', '--downstream', [CompletionResultType]::ParameterName, 'What clients may reach, repeatable: HOST:PORT, NETWORK:FIRST-LAST, udp://HOST:PORT or unix:///PATH; a bare port is at 127.0.0.1')
            [CompletionResult]::new('--unix-dir', '--unix-dir', [CompletionResultType]::ParameterName, 'Directory in which TunnelIn may listen on Unix sockets [default: none]')
            [CompletionResult]::new('--password', '--password', [CompletionResultType]::ParameterName, 'Password; others on this machine can see it in the list of processes')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'File with the password in its first line, which nobody else may read [else: RSTUN_PASSWORD, systemd''s credential ''password'', or a prompt]')
            [CompletionResult]::new('--clients', '--clients', [CompletionResultType]::ParameterName, 'Clients with entries of their own: who each is and what it may do, in TOML; changes count at once')
            [CompletionResult]::new('--cert', '--cert', [CompletionResultType]::ParameterName, 'Certificate or chain, DER or PEM [default: certificate.der in the configuration directory, or else one that the server makes for itself]')
            [CompletionResult]::new('--key', '--key', [CompletionResultType]::ParameterName, 'Private key of the certificate, DER or PEM [default: priv_key.der beside it]')
            [CompletionResult]::new('--congestion', '--congestion', [CompletionResultType]::ParameterName, 'Congestion control of what this side sends')
            [CompletionResult]::new('--idle-timeout', '--idle-timeout', [CompletionResultType]::ParameterName, 'Silence after which a connection is lost, with what goes through it; the other side may allow less')
            [CompletionResult]::new('--udp-timeout', '--udp-timeout', [CompletionResultType]::ParameterName, 'Silence after which a UDP flow is over, where its tunnel has no ?timeout=')
            [CompletionResult]::new('--drain', '--drain', [CompletionResultType]::ParameterName, 'Time that open connections have to finish after Ctrl-C or SIGTERM')
            [CompletionResult]::new('--audit-log', '--audit-log', [CompletionResultType]::ParameterName, 'File to add a line of JSON to for each login, refusal, tunnel and denied target')
            [CompletionResult]::new('--metrics', '--metrics', [CompletionResultType]::ParameterName, 'TCP address for the status page at / and Prometheus'' /metrics; a bare port is at 127.0.0.1')
            [CompletionResult]::new('--metrics-token-file', '--metrics-token-file', [CompletionResultType]::ParameterName, 'File with the token that both of them ask for [default: metrics-token in the state directory, made if it is not there]')
            [CompletionResult]::new('--health', '--health', [CompletionResultType]::ParameterName, 'TCP address for /healthz and /readyz, which ask for nothing; may be that of --metrics')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'File with flags by their names, in TOML; what is typed or set as RSTUN_<FLAG> counts more [default: server.toml or client.toml in the configuration directory, if it is there]')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What log lines look like')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'User to go on as when the port is bound, if started by root')
            [CompletionResult]::new('--qr', '--qr', [CompletionResultType]::ParameterName, 'Show clients'' ticket as a QR code too')
            [CompletionResult]::new('--allow-bench', '--allow-bench', [CompletionResultType]::ParameterName, 'Let clients load this server with `rstun bench --server-addr`')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'rstun;client' {
            [CompletionResult]::new('--server-addr', '--server-addr', [CompletionResultType]::ParameterName, 'Server to connect to, repeatable; the port is 6060 if left out, and any of a range 6060-6099. The first server that can be had is used, and the others stand by')
            [CompletionResult]::new('--mode', '--mode', [CompletionResultType]::ParameterName, 'Direction of each --addr-mapping')
            [CompletionResult]::new('--addr-mapping', '--addr-mapping', [CompletionResultType]::ParameterName, 'Tunnel in the direction of --mode, repeatable')
            [CompletionResult]::new('-L', '-L ', [CompletionResultType]::ParameterName, 'Listen on LOCAL here, dial REMOTE at the server, repeatable')
            [CompletionResult]::new('--tunnel-out', '--tunnel-out', [CompletionResultType]::ParameterName, 'Listen on LOCAL here, dial REMOTE at the server, repeatable')
            [CompletionResult]::new('-R', '-R ', [CompletionResultType]::ParameterName, 'Listen on REMOTE at the server, dial LOCAL here, repeatable; with socks5 or http as LOCAL, visitors say what to dial')
            [CompletionResult]::new('--tunnel-in', '--tunnel-in', [CompletionResultType]::ParameterName, 'Listen on REMOTE at the server, dial LOCAL here, repeatable; with socks5 or http as LOCAL, visitors say what to dial')
            [CompletionResult]::new('-D', '-D ', [CompletionResultType]::ParameterName, 'Proxy here whose visitors go out at the server, repeatable: SOCKS5, or HTTP by http://')
            [CompletionResult]::new('--dynamic', '--dynamic', [CompletionResultType]::ParameterName, 'Proxy here whose visitors go out at the server, repeatable: SOCKS5, or HTTP by http://')
            [CompletionResult]::new('--ticket-file', '--ticket-file', [CompletionResultType]::ParameterName, 'File with a ticket in its first line, which nobody else may read [else: RSTUN_TICKET]')
            [CompletionResult]::new('--password', '--password', [CompletionResultType]::ParameterName, 'Password; others on this machine can see it in the list of processes')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'File with the password in its first line, which nobody else may read [else: RSTUN_PASSWORD, systemd''s credential ''password'', or a prompt]')
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'Log in as the client of this name in the server''s --clients; the password is its secret')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'Log in by the key in this file, which `rstun keygen --client` made')
            [CompletionResult]::new('--cert', '--cert', [CompletionResultType]::ParameterName, 'Copy of the server''s certificate, DER or PEM; repeatable, and one that fits will do [default: certificate.der in the configuration directory]')
            [CompletionResult]::new('--pin', '--pin', [CompletionResultType]::ParameterName, 'In place of --cert the SHA-256 of the server''s certificate, as keygen and the server print it; repeatable, and one that fits will do')
            [CompletionResult]::new('--trust', '--trust', [CompletionResultType]::ParameterName, 'In place of both, whom to ask')
            [CompletionResult]::new('--transport', '--transport', [CompletionResultType]::ParameterName, 'What carries the connection to the server')
            [CompletionResult]::new('--proxy', '--proxy', [CompletionResultType]::ParameterName, 'HTTP proxy that TCP is to go through [default: that of HTTPS_PROXY, but for servers of NO_PROXY]')
            [CompletionResult]::new('--congestion', '--congestion', [CompletionResultType]::ParameterName, 'Congestion control of what this side sends')
            [CompletionResult]::new('--idle-timeout', '--idle-timeout', [CompletionResultType]::ParameterName, 'Silence after which a connection is lost, with what goes through it; the other side may allow less')
            [CompletionResult]::new('--udp-timeout', '--udp-timeout', [CompletionResultType]::ParameterName, 'Silence after which a UDP flow is over, where its tunnel has no ?timeout=')
            [CompletionResult]::new('--hop-interval', '--hop-interval', [CompletionResultType]::ParameterName, 'Move to a new local port after so long, a quarter more or less, and to another of the server''s if its address has a range of them; flows go on')
            [CompletionResult]::new('--drain', '--drain', [CompletionResultType]::ParameterName, 'Time that open connections have to finish after Ctrl-C or SIGTERM')
            [CompletionResult]::new('--metrics', '--metrics', [CompletionResultType]::ParameterName, 'TCP address for the status page at / and Prometheus'' /metrics; a bare port is at 127.0.0.1')
            [CompletionResult]::new('--metrics-token-file', '--metrics-token-file', [CompletionResultType]::ParameterName, 'File with the token that both of them ask for [default: metrics-token in the state directory, made if it is not there]')
            [CompletionResult]::new('--health', '--health', [CompletionResultType]::ParameterName, 'TCP address for /healthz and /readyz, which ask for nothing; may be that of --metrics')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'File with flags by their names, in TOML; what is typed or set as RSTUN_<FLAG> counts more [default: server.toml or client.toml in the configuration directory, if it is there]')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What log lines look like')
            [CompletionResult]::new('--all-servers', '--all-servers', [CompletionResultType]::ParameterName, 'Connect to each --server-addr: tunnels into this machine are open at all of them, and those out of it go through the nearest')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'rstun;connect' {
            [CompletionResult]::new('--server-addr', '--server-addr', [CompletionResultType]::ParameterName, 'Server to go through, by a running client of it or else by a connection of its own, repeatable as for the client [default: that of the client that runs]')
            [CompletionResult]::new('--ticket-file', '--ticket-file', [CompletionResultType]::ParameterName, 'File with a ticket in its first line, which nobody else may read [else: RSTUN_TICKET]')
            [CompletionResult]::new('--password', '--password', [CompletionResultType]::ParameterName, 'Password; others on this machine can see it in the list of processes')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'File with the password in its first line, which nobody else may read [else: RSTUN_PASSWORD, systemd''s credential ''password'', or a prompt]')
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'Log in as the client of this name in the server''s --clients; the password is its secret')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'Log in by the key in this file, which `rstun keygen --client` made')
            [CompletionResult]::new('--cert', '--cert', [CompletionResultType]::ParameterName, 'Copy of the server''s certificate, DER or PEM; repeatable, and one that fits will do [default: certificate.der in the configuration directory]')
            [CompletionResult]::new('--pin', '--pin', [CompletionResultType]::ParameterName, 'In place of --cert the SHA-256 of the server''s certificate, as keygen and the server print it; repeatable, and one that fits will do')
            [CompletionResult]::new('--trust', '--trust', [CompletionResultType]::ParameterName, 'In place of both, whom to ask')
            [CompletionResult]::new('--transport', '--transport', [CompletionResultType]::ParameterName, 'What carries the connection to the server')
            [CompletionResult]::new('--proxy', '--proxy', [CompletionResultType]::ParameterName, 'HTTP proxy that TCP is to go through [default: that of HTTPS_PROXY, but for servers of NO_PROXY]')
            [CompletionResult]::new('--congestion', '--congestion', [CompletionResultType]::ParameterName, 'Congestion control of what this side sends')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'File with flags by their names, in TOML; what is typed or set as RSTUN_<FLAG> counts more [default: server.toml or client.toml in the configuration directory, if it is there]')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'rstun;tunnel' {
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('add', 'add', [CompletionResultType]::ParameterValue, 'Open tunnels beside those that the client has, until it ends')
            [CompletionResult]::new('remove', 'remove', [CompletionResultType]::ParameterValue, 'Close tunnels; connections that are open have the time of its --drain')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Show the client''s tunnels and where they can be reached')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'rstun;tunnel;add' {
            [CompletionResult]::new('-L', '-L ', [CompletionResultType]::ParameterName, 'As of `rstun client`: listen on LOCAL at the client, dial REMOTE at the server')
            [CompletionResult]::new('--tunnel-out', '--tunnel-out', [CompletionResultType]::ParameterName, 'As of `rstun client`: listen on LOCAL at the client, dial REMOTE at the server')
            [CompletionResult]::new('-R', '-R ', [CompletionResultType]::ParameterName, 'As of `rstun client`: listen on REMOTE at the server, dial LOCAL at the client')
            [CompletionResult]::new('--tunnel-in', '--tunnel-in', [CompletionResultType]::ParameterName, 'As of `rstun client`: listen on REMOTE at the server, dial LOCAL at the client')
            [CompletionResult]::new('-D', '-D ', [CompletionResultType]::ParameterName, 'As of `rstun client`: a proxy at the client')
            [CompletionResult]::new('--dynamic', '--dynamic', [CompletionResultType]::ParameterName, 'As of `rstun client`: a proxy at the client')
            [CompletionResult]::new('--pid', '--pid', [CompletionResultType]::ParameterName, 'The process that is meant, where several run')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'Its control socket, where it is not in a usual place')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'rstun;tunnel;remove' {
            [CompletionResult]::new('-L', '-L ', [CompletionResultType]::ParameterName, 'As of `rstun client`: listen on LOCAL at the client, dial REMOTE at the server')
            [CompletionResult]::new('--tunnel-out', '--tunnel-out', [CompletionResultType]::ParameterName, 'As of `rstun client`: listen on LOCAL at the client, dial REMOTE at the server')
            [CompletionResult]::new('-R', '-R ', [CompletionResultType]::ParameterName, 'As of `rstun client`: listen on REMOTE at the server, dial LOCAL at the client')
            [CompletionResult]::new('--tunnel-in', '--tunnel-in', [CompletionResultType]::ParameterName, 'As of `rstun client`: listen on REMOTE at the server, dial LOCAL at the client')
            [CompletionResult]::new('-D', '-D ', [CompletionResultType]::ParameterName, 'As of `rstun client`: a proxy at the client')
            [CompletionResult]::new('--dynamic', '--dynamic', [CompletionResultType]::ParameterName, 'As of `rstun client`: a proxy at the client')
            [CompletionResult]::new('--pid', '--pid', [CompletionResultType]::ParameterName, 'The process that is meant, where several run')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'Its control socket, where it is not in a usual place')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'rstun;tunnel;list' {
            [CompletionResult]::new('--pid', '--pid', [CompletionResultType]::ParameterName, 'The process that is meant, where several run')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'Its control socket, where it is not in a usual place')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON in place of a table')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'rstun;tunnel;help' {
            [CompletionResult]::new('add', 'add', [CompletionResultType]::ParameterValue, 'Open tunnels beside those that the client has, until it ends')
            [CompletionResult]::new('remove', 'remove', [CompletionResultType]::ParameterValue, 'Close tunnels; connections that are open have the time of its --drain')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Show the client''s tunnels and where they can be reached')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'rstun;tunnel;help;add' {
            break
        }
        'rstun;tunnel;help;remove' {
            break
        }
        'rstun;tunnel;help;list' {
            break
        }
        'rstun;tunnel;help;help' {
            break
        }
        'rstun;reload' {
            [CompletionResult]::new('--pid', '--pid', [CompletionResultType]::ParameterName, 'The process that is meant, where several run')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'Its control socket, where it is not in a usual place')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'rstun;stop' {
            [CompletionResult]::new('--pid', '--pid', [CompletionResultType]::ParameterName, 'The process that is meant, where several run')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'Its control socket, where it is not in a usual place')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'rstun;status' {
            [CompletionResult]::new('--pid', '--pid', [CompletionResultType]::ParameterName, 'The process that is meant, where several run')
            [CompletionResult]::new('--socket', '--socket', [CompletionResultType]::ParameterName, 'Its control socket, where it is not in a usual place')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON, in one line')
            [CompletionResult]::new('--watch', '--watch', [CompletionResultType]::ParameterName, 'Go on showing it, once a second, until q or Ctrl-C; with --json in a line each')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'rstun;check' {
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'File whose flags are checked [default: the one in the configuration directory]')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('server', 'server', [CompletionResultType]::ParameterValue, 'What `rstun server` would do with the same flags')
            [CompletionResult]::new('client', 'client', [CompletionResultType]::ParameterValue, 'What `rstun client` would do with the same flags')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'rstun;check;server' {
            [CompletionResult]::new('--addr', '--addr', [CompletionResultType]::ParameterName, 'Address to listen on, by UDP and by TCP; a bare port means all addresses, and a range 6060-6099 all of its ports by UDP, for clients to change between')
            [CompletionResult]::new('--downstream', '--downstream', [CompletionResultType]::ParameterName, 'What clients may reach, repeatable: HOST:PORT, NETWORK:FIRST-LAST, udp://HOST:PORT or unix:///PATH; a bare port is at 127.0.0.1')
            [CompletionResult]::new('--unix-dir', '--unix-dir', [CompletionResultType]::ParameterName, 'Directory in which TunnelIn may listen on Unix sockets [default: none]')
            [CompletionResult]::new('--password', '--password', [CompletionResultType]::ParameterName, 'Password; others on this machine can see it in the list of processes')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'File with the password in its first line, which nobody else may read [else: RSTUN_PASSWORD, systemd''s credential ''password'', or a prompt]')
            [CompletionResult]::new('--clients', '--clients', [CompletionResultType]::ParameterName, 'Clients with entries of their own: who each is and what it may do, in TOML; changes count at once')
            [CompletionResult]::new('--cert', '--cert', [CompletionResultType]::ParameterName, 'Certificate or chain, DER or PEM [default: certificate.der in the configuration directory, or else one that the server makes for itself]')
            [CompletionResult]::new('--key', '--key', [CompletionResultType]::ParameterName, 'Private key of the certificate, DER or PEM [default: priv_key.der beside it]')
            [CompletionResult]::new('--congestion', '--congestion', [CompletionResultType]::ParameterName, 'Congestion control of what this side sends')
            [CompletionResult]::new('--idle-timeout', '--idle-timeout', [CompletionResultType]::ParameterName, 'Silence after which a connection is lost, with what goes through it; the other side may allow less')
            [CompletionResult]::new('--udp-timeout', '--udp-timeout', [CompletionResultType]::ParameterName, 'Silence after which a UDP flow is over, where its tunnel has no ?timeout=')
            [CompletionResult]::new('--drain', '--drain', [CompletionResultType]::ParameterName, 'Time that open connections have to finish after Ctrl-C or SIGTERM')
            [CompletionResult]::new('--audit-log', '--audit-log', [CompletionResultType]::ParameterName, 'File to add a line of JSON to for each login, refusal, tunnel and denied target')
            [CompletionResult]::new('--metrics', '--metrics', [CompletionResultType]::ParameterName, 'TCP address for the status page at / and Prometheus'' /metrics; a bare port is at 127.0.0.1')
            [CompletionResult]::new('--metrics-token-file', '--metrics-token-file', [CompletionResultType]::ParameterName, 'File with the token that both of them ask for [default: metrics-token in the state directory, made if it is not there]')
            [CompletionResult]::new('--health', '--health', [CompletionResultType]::ParameterName, 'TCP address for /healthz and /readyz, which ask for nothing; may be that of --metrics')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'File with flags by their names, in TOML; what is typed or set as RSTUN_<FLAG> counts more [default: server.toml or client.toml in the configuration directory, if it is there]')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What log lines look like')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'User to go on as when the port is bound, if started by root')
            [CompletionResult]::new('--qr', '--qr', [CompletionResultType]::ParameterName, 'Show clients'' ticket as a QR code too')
            [CompletionResult]::new('--allow-bench', '--allow-bench', [CompletionResultType]::ParameterName, 'Let clients load this server with `rstun bench --server-addr`')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'rstun;check;client' {
            [CompletionResult]::new('--server-addr', '--server-addr', [CompletionResultType]::ParameterName, 'Server to connect to, repeatable; the port is 6060 if left out, and any of a range 6060-6099. The first server that can be had is used, and the others stand by')
            [CompletionResult]::new('--mode', '--mode', [CompletionResultType]::ParameterName, 'Direction of each --addr-mapping')
            [CompletionResult]::new('--addr-mapping', '--addr-mapping', [CompletionResultType]::ParameterName, 'Tunnel in the direction of --mode, repeatable')
            [CompletionResult]::new('-L', '-L ', [CompletionResultType]::ParameterName, 'Listen on LOCAL here, dial REMOTE at the server, repeatable')
            [CompletionResult]::new('--tunnel-out', '--tunnel-out', [CompletionResultType]::ParameterName, 'Listen on LOCAL here, dial REMOTE at the server, repeatable')
            [CompletionResult]::new('-R', '-R ', [CompletionResultType]::ParameterName, 'Listen on REMOTE at the server, dial LOCAL here, repeatable; with socks5 or http as LOCAL, visitors say what to dial')
            [CompletionResult]::new('--tunnel-in', '--tunnel-in', [CompletionResultType]::ParameterName, 'Listen on REMOTE at the server, dial LOCAL here, repeatable; with socks5 or http as LOCAL, visitors say what to dial')
            [CompletionResult]::new('-D', '-D ', [CompletionResultType]::ParameterName, 'Proxy here whose visitors go out at the server, repeatable: SOCKS5, or HTTP by http://')
            [CompletionResult]::new('--dynamic', '--dynamic', [CompletionResultType]::ParameterName, 'Proxy here whose visitors go out at the server, repeatable: SOCKS5, or HTTP by http://')
            [CompletionResult]::new('--ticket-file', '--ticket-file', [CompletionResultType]::ParameterName, 'File with a ticket in its first line, which nobody else may read [else: RSTUN_TICKET]')
            [CompletionResult]::new('--password', '--password', [CompletionResultType]::ParameterName, 'Password; others on this machine can see it in the list of processes')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'File with the password in its first line, which nobody else may read [else: RSTUN_PASSWORD, systemd''s credential ''password'', or a prompt]')
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'Log in as the client of this name in the server''s --clients; the password is its secret')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'Log in by the key in this file, which `rstun keygen --client` made')
            [CompletionResult]::new('--cert', '--cert', [CompletionResultType]::ParameterName, 'Copy of the server''s certificate, DER or PEM; repeatable, and one that fits will do [default: certificate.der in the configuration directory]')
            [CompletionResult]::new('--pin', '--pin', [CompletionResultType]::ParameterName, 'In place of --cert the SHA-256 of the server''s certificate, as keygen and the server print it; repeatable, and one that fits will do')
            [CompletionResult]::new('--trust', '--trust', [CompletionResultType]::ParameterName, 'In place of both, whom to ask')
            [CompletionResult]::new('--transport', '--transport', [CompletionResultType]::ParameterName, 'What carries the connection to the server')
            [CompletionResult]::new('--proxy', '--proxy', [CompletionResultType]::ParameterName, 'HTTP proxy that TCP is to go through [default: that of HTTPS_PROXY, but for servers of NO_PROXY]')
            [CompletionResult]::new('--congestion', '--congestion', [CompletionResultType]::ParameterName, 'Congestion control of what this side sends')
            [CompletionResult]::new('--idle-timeout', '--idle-timeout', [CompletionResultType]::ParameterName, 'Silence after which a connection is lost, with what goes through it; the other side may allow less')
            [CompletionResult]::new('--udp-timeout', '--udp-timeout', [CompletionResultType]::ParameterName, 'Silence after which a UDP flow is over, where its tunnel has no ?timeout=')
            [CompletionResult]::new('--hop-interval', '--hop-interval', [CompletionResultType]::ParameterName, 'Move to a new local port after so long, a quarter more or less, and to another of the server''s if its address has a range of them; flows go on')
            [CompletionResult]::new('--drain', '--drain', [CompletionResultType]::ParameterName, 'Time that open connections have to finish after Ctrl-C or SIGTERM')
            [CompletionResult]::new('--metrics', '--metrics', [CompletionResultType]::ParameterName, 'TCP address for the status page at / and Prometheus'' /metrics; a bare port is at 127.0.0.1')
            [CompletionResult]::new('--metrics-token-file', '--metrics-token-file', [CompletionResultType]::ParameterName, 'File with the token that both of them ask for [default: metrics-token in the state directory, made if it is not there]')
            [CompletionResult]::new('--health', '--health', [CompletionResultType]::ParameterName, 'TCP address for /healthz and /readyz, which ask for nothing; may be that of --metrics')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'File with flags by their names, in TOML; what is typed or set as RSTUN_<FLAG> counts more [default: server.toml or client.toml in the configuration directory, if it is there]')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What log lines look like')
            [CompletionResult]::new('--all-servers', '--all-servers', [CompletionResultType]::ParameterName, 'Connect to each --server-addr: tunnels into this machine are open at all of them, and those out of it go through the nearest')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'rstun;check;help' {
            [CompletionResult]::new('server', 'server', [CompletionResultType]::ParameterValue, 'What `rstun server` would do with the same flags')
            [CompletionResult]::new('client', 'client', [CompletionResultType]::ParameterValue, 'What `rstun client` would do with the same flags')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'rstun;check;help;server' {
            break
        }
        'rstun;check;help;client' {
            break
        }
        'rstun;check;help;help' {
            break
        }
        'rstun;ticket' {
            [CompletionResult]::new('--addr', '--addr', [CompletionResultType]::ParameterName, 'Address by which clients reach the server, repeatable, the best first [default: what look like this machine''s addresses]')
            [CompletionResult]::new('--for', '--for', [CompletionResultType]::ParameterName, 'Client that it is for; if it has no entry in --clients yet, one is added')
            [CompletionResult]::new('--listen', '--listen', [CompletionResultType]::ParameterName, 'Where the server listens, as its own --addr says')
            [CompletionResult]::new('--clients', '--clients', [CompletionResultType]::ParameterName, 'The server''s clients that have entries of their own')
            [CompletionResult]::new('--password', '--password', [CompletionResultType]::ParameterName, 'Password; others on this machine can see it in the list of processes')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'File with the password in its first line, which nobody else may read [else: RSTUN_PASSWORD, systemd''s credential ''password'', or a prompt]')
            [CompletionResult]::new('--cert', '--cert', [CompletionResultType]::ParameterName, 'Certificate or chain, DER or PEM [default: certificate.der in the configuration directory, or else one that the server makes for itself]')
            [CompletionResult]::new('--key', '--key', [CompletionResultType]::ParameterName, 'Private key of the certificate, DER or PEM [default: priv_key.der beside it]')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'File with flags by their names, in TOML; what is typed or set as RSTUN_<FLAG> counts more [default: server.toml or client.toml in the configuration directory, if it is there]')
            [CompletionResult]::new('--qr', '--qr', [CompletionResultType]::ParameterName, 'Show it as a QR code too')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'rstun;service' {
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('install', 'install', [CompletionResultType]::ParameterValue, 'Write a unit for systemd, and enable it')
            [CompletionResult]::new('uninstall', 'uninstall', [CompletionResultType]::ParameterValue, 'Stop a service, and take its unit away; configuration and state stay')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'rstun;service;install' {
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'Which client, as there may be several')
            [CompletionResult]::new('--root', '--root', [CompletionResultType]::ParameterName, 'Another system''s root directory to install into, where rstun is /usr/bin/rstun')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'A service of this user''s, in place of one of the system''s')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Say what would be done, with the unit''s text, and do nothing')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'rstun;service;uninstall' {
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'Which client, as there may be several')
            [CompletionResult]::new('--root', '--root', [CompletionResultType]::ParameterName, 'Another system''s root directory to install into, where rstun is /usr/bin/rstun')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'A service of this user''s, in place of one of the system''s')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Say what would be done, with the unit''s text, and do nothing')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'rstun;service;help' {
            [CompletionResult]::new('install', 'install', [CompletionResultType]::ParameterValue, 'Write a unit for systemd, and enable it')
            [CompletionResult]::new('uninstall', 'uninstall', [CompletionResultType]::ParameterValue, 'Stop a service, and take its unit away; configuration and state stay')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'rstun;service;help;install' {
            break
        }
        'rstun;service;help;uninstall' {
            break
        }
        'rstun;service;help;help' {
            break
        }
        'rstun;keygen' {
            [CompletionResult]::new('--out-dir', '--out-dir', [CompletionResultType]::ParameterName, 'Directory for the files, made if it is not there')
            [CompletionResult]::new('--host', '--host', [CompletionResultType]::ParameterName, 'Name or IP address to write into the certificate, repeatable')
            [CompletionResult]::new('--client', '--client', [CompletionResultType]::ParameterName, 'Make a key for this client in place of a server''s, in NAME.pem, and print the client''s entry')
            [CompletionResult]::new('--days', '--days', [CompletionResultType]::ParameterName, 'Days until the certificate expires (rstun''s own clients compare bytes, not dates)')
            [CompletionResult]::new('--secret', '--secret', [CompletionResultType]::ParameterName, 'Make the client a secret in place of a key, in NAME.secret')
            [CompletionResult]::new('--force', '--force', [CompletionResultType]::ParameterName, 'Replace files that are there')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'rstun;bench' {
            [CompletionResult]::new('--seconds', '--seconds', [CompletionResultType]::ParameterName, 'Time for each measurement')
            [CompletionResult]::new('--streams', '--streams', [CompletionResultType]::ParameterName, 'How many connections carry the bulk data, each number measured in turn')
            [CompletionResult]::new('--scenario', '--scenario', [CompletionResultType]::ParameterName, 'What to measure, repeatable [default: all]')
            [CompletionResult]::new('--payload', '--payload', [CompletionResultType]::ParameterName, 'Size of a request, and of its answer')
            [CompletionResult]::new('--server-addr', '--server-addr', [CompletionResultType]::ParameterName, 'Server to measure, started with --allow-bench, in place of one in this process; the port is 6060 if left out')
            [CompletionResult]::new('--transport', '--transport', [CompletionResultType]::ParameterName, 'What carries the connection to the server')
            [CompletionResult]::new('--proxy', '--proxy', [CompletionResultType]::ParameterName, 'HTTP proxy that TCP is to go through [default: that of HTTPS_PROXY, but for servers of NO_PROXY]')
            [CompletionResult]::new('--congestion', '--congestion', [CompletionResultType]::ParameterName, 'Congestion control of what this side sends')
            [CompletionResult]::new('--ticket-file', '--ticket-file', [CompletionResultType]::ParameterName, 'File with a ticket in its first line, which nobody else may read [else: RSTUN_TICKET]')
            [CompletionResult]::new('--password', '--password', [CompletionResultType]::ParameterName, 'Password; others on this machine can see it in the list of processes')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'File with the password in its first line, which nobody else may read [else: RSTUN_PASSWORD, systemd''s credential ''password'', or a prompt]')
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'Log in as the client of this name in the server''s --clients; the password is its secret')
            [CompletionResult]::new('--identity', '--identity', [CompletionResultType]::ParameterName, 'Log in by the key in this file, which `rstun keygen --client` made')
            [CompletionResult]::new('--cert', '--cert', [CompletionResultType]::ParameterName, 'Copy of the server''s certificate, DER or PEM; repeatable, and one that fits will do [default: certificate.der in the configuration directory]')
            [CompletionResult]::new('--pin', '--pin', [CompletionResultType]::ParameterName, 'In place of --cert the SHA-256 of the server''s certificate, as keygen and the server print it; repeatable, and one that fits will do')
            [CompletionResult]::new('--trust', '--trust', [CompletionResultType]::ParameterName, 'In place of both, whom to ask')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON in place of a table')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'rstun;help' {
            [CompletionResult]::new('server', 'server', [CompletionResultType]::ParameterValue, 'Stand where both sides reach it, and carry clients'' tunnels')
            [CompletionResult]::new('client', 'client', [CompletionResultType]::ParameterValue, 'Connect to a server, and keep tunnels up')
            [CompletionResult]::new('connect', 'connect', [CompletionResultType]::ParameterValue, 'Connect standard input and output to a target at the server''s side, once')
            [CompletionResult]::new('tunnel', 'tunnel', [CompletionResultType]::ParameterValue, 'Change or show the tunnels of a client that runs')
            [CompletionResult]::new('reload', 'reload', [CompletionResultType]::ParameterValue, 'Have a server or a client that runs read its configuration again')
            [CompletionResult]::new('stop', 'stop', [CompletionResultType]::ParameterValue, 'Have a server or a client that runs end in order')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show how a server or a client is that runs')
            [CompletionResult]::new('check', 'check', [CompletionResultType]::ParameterValue, 'Check a server''s or a client''s flags and files, and the way to the server, step by step')
            [CompletionResult]::new('ticket', 'ticket', [CompletionResultType]::ParameterValue, 'Print what a client needs to know of the server here, as one word')
            [CompletionResult]::new('service', 'service', [CompletionResultType]::ParameterValue, 'Have systemd run a server or a client')
            [CompletionResult]::new('keygen', 'keygen', [CompletionResultType]::ParameterValue, 'Make a key and a certificate for a server, or a client''s key or secret')
            [CompletionResult]::new('bench', 'bench', [CompletionResultType]::ParameterValue, 'Measure what a tunnel does, on this machine or to a server')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'rstun;help;server' {
            break
        }
        'rstun;help;client' {
            break
        }
        'rstun;help;connect' {
            break
        }
        'rstun;help;tunnel' {
            [CompletionResult]::new('add', 'add', [CompletionResultType]::ParameterValue, 'Open tunnels beside those that the client has, until it ends')
            [CompletionResult]::new('remove', 'remove', [CompletionResultType]::ParameterValue, 'Close tunnels; connections that are open have the time of its --drain')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Show the client''s tunnels and where they can be reached')
            break
        }
        'rstun;help;tunnel;add' {
            break
        }
        'rstun;help;tunnel;remove' {
            break
        }
        'rstun;help;tunnel;list' {
            break
        }
        'rstun;help;reload' {
            break
        }
        'rstun;help;stop' {
            break
        }
        'rstun;help;status' {
            break
        }
        'rstun;help;check' {
            [CompletionResult]::new('server', 'server', [CompletionResultType]::ParameterValue, 'What `rstun server` would do with the same flags')
            [CompletionResult]::new('client', 'client', [CompletionResultType]::ParameterValue, 'What `rstun client` would do with the same flags')
            break
        }
        'rstun;help;check;server' {
            break
        }
        'rstun;help;check;client' {
            break
        }
        'rstun;help;ticket' {
            break
        }
        'rstun;help;service' {
            [CompletionResult]::new('install', 'install', [CompletionResultType]::ParameterValue, 'Write a unit for systemd, and enable it')
            [CompletionResult]::new('uninstall', 'uninstall', [CompletionResultType]::ParameterValue, 'Stop a service, and take its unit away; configuration and state stay')
            break
        }
        'rstun;help;service;install' {
            break
        }
        'rstun;help;service;uninstall' {
            break
        }
        'rstun;help;keygen' {
            break
        }
        'rstun;help;bench' {
            break
        }
        'rstun;help;help' {
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
