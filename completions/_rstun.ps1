
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
            [CompletionResult]::new('stop', 'stop', [CompletionResultType]::ParameterValue, 'Have a server or a client that runs end in order')
            [CompletionResult]::new('keygen', 'keygen', [CompletionResultType]::ParameterValue, 'Make a key and a certificate for a server, or a client''s key or secret')
            [CompletionResult]::new('bench', 'bench', [CompletionResultType]::ParameterValue, 'Measure what a tunnel does, on this machine or to a server')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'rstun;server' {
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'File with flags by their names, in TOML; what is typed or set as RSTUN_<FLAG> counts more [default: server.toml or client.toml in the configuration directory, if it is there]')
            [CompletionResult]::new('--addr', '--addr', [CompletionResultType]::ParameterName, 'Address to listen on, by UDP and by TCP; a bare port means all addresses')
            [CompletionResult]::new('--downstream', '--downstream', [CompletionResultType]::ParameterName, 'What clients may reach, repeatable: HOST:PORT, NETWORK:FIRST-LAST, udp://HOST:PORT or unix:///PATH; a bare port is at 127.0.0.1')
            [CompletionResult]::new('--unix-dir', '--unix-dir', [CompletionResultType]::ParameterName, 'Directory in which TunnelIn may listen on Unix sockets [default: none]')
            [CompletionResult]::new('--password', '--password', [CompletionResultType]::ParameterName, 'Password; others on this machine can see it in the list of processes')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'File with the password in its first line, which nobody else may read [else: RSTUN_PASSWORD, systemd''s credential ''password'', or a prompt]')
            [CompletionResult]::new('--clients', '--clients', [CompletionResultType]::ParameterName, 'Clients with entries of their own: who each is and what it may do, in TOML; changes count at once')
            [CompletionResult]::new('--cert', '--cert', [CompletionResultType]::ParameterName, 'Certificate or chain, DER or PEM [default: certificate.der in the configuration directory]')
            [CompletionResult]::new('--key', '--key', [CompletionResultType]::ParameterName, 'Private key of the certificate, DER or PEM [default: priv_key.der beside it]')
            [CompletionResult]::new('--congestion', '--congestion', [CompletionResultType]::ParameterName, 'Congestion control of what this side sends')
            [CompletionResult]::new('--idle-timeout', '--idle-timeout', [CompletionResultType]::ParameterName, 'Silence after which a connection is lost, with what goes through it; the other side may allow less')
            [CompletionResult]::new('--udp-timeout', '--udp-timeout', [CompletionResultType]::ParameterName, 'Silence after which a UDP flow is over, where its tunnel has no ?timeout=')
            [CompletionResult]::new('--drain', '--drain', [CompletionResultType]::ParameterName, 'Time that open connections have to finish after Ctrl-C or SIGTERM')
            [CompletionResult]::new('--audit-log', '--audit-log', [CompletionResultType]::ParameterName, 'File to add a line of JSON to for each login, refusal, tunnel and denied target')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What log lines look like')
            [CompletionResult]::new('--user', '--user', [CompletionResultType]::ParameterName, 'User to go on as when the port is bound, if started by root')
            [CompletionResult]::new('--allow-bench', '--allow-bench', [CompletionResultType]::ParameterName, 'Let clients load this server with `rstun bench --server-addr`')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'rstun;client' {
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'File with flags by their names, in TOML; what is typed or set as RSTUN_<FLAG> counts more [default: server.toml or client.toml in the configuration directory, if it is there]')
            [CompletionResult]::new('--server-addr', '--server-addr', [CompletionResultType]::ParameterName, 'Server to connect to, repeatable; the port is 6060 if left out. The first that can be had is used, and the others stand by')
            [CompletionResult]::new('--mode', '--mode', [CompletionResultType]::ParameterName, 'Direction of each --addr-mapping')
            [CompletionResult]::new('--addr-mapping', '--addr-mapping', [CompletionResultType]::ParameterName, 'Tunnel in the direction of --mode, repeatable')
            [CompletionResult]::new('-L', '-L ', [CompletionResultType]::ParameterName, 'Listen on LOCAL here, dial REMOTE at the server, repeatable')
            [CompletionResult]::new('--tunnel-out', '--tunnel-out', [CompletionResultType]::ParameterName, 'Listen on LOCAL here, dial REMOTE at the server, repeatable')
            [CompletionResult]::new('-R', '-R ', [CompletionResultType]::ParameterName, 'Listen on REMOTE at the server, dial LOCAL here, repeatable; with socks5 or http as LOCAL, visitors say what to dial')
            [CompletionResult]::new('--tunnel-in', '--tunnel-in', [CompletionResultType]::ParameterName, 'Listen on REMOTE at the server, dial LOCAL here, repeatable; with socks5 or http as LOCAL, visitors say what to dial')
            [CompletionResult]::new('-D', '-D ', [CompletionResultType]::ParameterName, 'Proxy here whose visitors go out at the server, repeatable: SOCKS5, or HTTP by http://')
            [CompletionResult]::new('--dynamic', '--dynamic', [CompletionResultType]::ParameterName, 'Proxy here whose visitors go out at the server, repeatable: SOCKS5, or HTTP by http://')
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
            [CompletionResult]::new('--drain', '--drain', [CompletionResultType]::ParameterName, 'Time that open connections have to finish after Ctrl-C or SIGTERM')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'What log lines look like')
            [CompletionResult]::new('--all-servers', '--all-servers', [CompletionResultType]::ParameterName, 'Connect to each --server-addr: tunnels into this machine are open at all of them, and those out of it go through the nearest')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'rstun;connect' {
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'File with flags by their names, in TOML; what is typed or set as RSTUN_<FLAG> counts more [default: server.toml or client.toml in the configuration directory, if it is there]')
            [CompletionResult]::new('--server-addr', '--server-addr', [CompletionResultType]::ParameterName, 'Server to go through, by a running client of it or else by a connection of its own, repeatable as for the client [default: that of the client that runs]')
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
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
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
            [CompletionResult]::new('stop', 'stop', [CompletionResultType]::ParameterValue, 'Have a server or a client that runs end in order')
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
        'rstun;help;stop' {
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
