# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_rstun_global_optspecs
    string join \n h/help V/version
end

function __fish_rstun_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_rstun_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_rstun_using_subcommand
    set -l cmd (__fish_rstun_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c rstun -n "__fish_rstun_needs_command" -s h -l help -d 'Print help'
complete -c rstun -n "__fish_rstun_needs_command" -s V -l version -d 'Print version'
complete -c rstun -n "__fish_rstun_needs_command" -f -a "server" -d 'Stand where both sides reach it, and carry clients\' tunnels'
complete -c rstun -n "__fish_rstun_needs_command" -f -a "client" -d 'Connect to a server, and keep tunnels up'
complete -c rstun -n "__fish_rstun_needs_command" -f -a "connect" -d 'Connect standard input and output to a target at the server\'s side, once'
complete -c rstun -n "__fish_rstun_needs_command" -f -a "tunnel" -d 'Change or show the tunnels of a client that runs'
complete -c rstun -n "__fish_rstun_needs_command" -f -a "reload" -d 'Have a server or a client that runs read its configuration again'
complete -c rstun -n "__fish_rstun_needs_command" -f -a "stop" -d 'Have a server or a client that runs end in order'
complete -c rstun -n "__fish_rstun_needs_command" -f -a "status" -d 'Show how a server or a client is that runs'
complete -c rstun -n "__fish_rstun_needs_command" -f -a "check" -d 'Check a server\'s or a client\'s flags and files, and the way to the server, step by step'
complete -c rstun -n "__fish_rstun_needs_command" -f -a "ticket" -d 'Print what a client needs to know of the server here, as one word'
complete -c rstun -n "__fish_rstun_needs_command" -f -a "service" -d 'Have systemd run a server or a client'
complete -c rstun -n "__fish_rstun_needs_command" -f -a "keygen" -d 'Make a key and a certificate for a server, or a client\'s key or secret'
complete -c rstun -n "__fish_rstun_needs_command" -f -a "bench" -d 'Measure what a tunnel does, on this machine or to a server'
complete -c rstun -n "__fish_rstun_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c rstun -n "__fish_rstun_using_subcommand server" -l addr -d 'Address to listen on, by UDP and by TCP; a bare port means all addresses, and a range 6060-6099 all of its ports by UDP, for clients to change between' -r
complete -c rstun -n "__fish_rstun_using_subcommand server" -l downstream -d 'What clients may reach, repeatable: HOST:PORT, NETWORK:FIRST-LAST, udp://HOST:PORT or unix:///PATH; a bare port is at 127.0.0.1' -r
complete -c rstun -n "__fish_rstun_using_subcommand server" -l unix-dir -d 'Directory in which TunnelIn may listen on Unix sockets [default: none]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand server" -l password -d 'Password; others on this machine can see it in the list of processes' -r
complete -c rstun -n "__fish_rstun_using_subcommand server" -l password-file -d 'File with the password in its first line, which nobody else may read [else: RSTUN_PASSWORD, systemd\'s credential \'password\', or a prompt]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand server" -l clients -d 'Clients with entries of their own: who each is and what it may do, in TOML; changes count at once' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand server" -l cert -d 'Certificate or chain, DER or PEM [default: certificate.der in the configuration directory, or else one that the server makes for itself]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand server" -l key -d 'Private key of the certificate, DER or PEM [default: priv_key.der beside it]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand server" -l congestion -d 'Congestion control of what this side sends' -r -f -a "bbr\t'Our own, after BBRv3: measures the path, and takes no random loss for congestion'
cubic\t'What most of TCP does'
newreno\t'What TCP did before that'"
complete -c rstun -n "__fish_rstun_using_subcommand server" -l idle-timeout -d 'Silence after which a connection is lost, with what goes through it; the other side may allow less' -r
complete -c rstun -n "__fish_rstun_using_subcommand server" -l udp-timeout -d 'Silence after which a UDP flow is over, where its tunnel has no ?timeout=' -r
complete -c rstun -n "__fish_rstun_using_subcommand server" -l drain -d 'Time that open connections have to finish after Ctrl-C or SIGTERM' -r
complete -c rstun -n "__fish_rstun_using_subcommand server" -l audit-log -d 'File to add a line of JSON to for each login, refusal, tunnel and denied target' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand server" -l metrics -d 'TCP address for the status page at / and Prometheus\' /metrics; a bare port is at 127.0.0.1' -r
complete -c rstun -n "__fish_rstun_using_subcommand server" -l metrics-token-file -d 'File with the token that both of them ask for [default: metrics-token in the state directory, made if it is not there]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand server" -l health -d 'TCP address for /healthz and /readyz, which ask for nothing; may be that of --metrics' -r
complete -c rstun -n "__fish_rstun_using_subcommand server" -l config -d 'File with flags by their names, in TOML; what is typed or set as RSTUN_<FLAG> counts more [default: server.toml or client.toml in the configuration directory, if it is there]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand server" -l log -d 'What log lines look like' -r -f -a "text\t'For people, and for systemd\'s journal'
json\t'An object a line, for programs'"
complete -c rstun -n "__fish_rstun_using_subcommand server" -l user -d 'User to go on as when the port is bound, if started by root' -r
complete -c rstun -n "__fish_rstun_using_subcommand server" -l qr -d 'Show clients\' ticket as a QR code too'
complete -c rstun -n "__fish_rstun_using_subcommand server" -l allow-bench -d 'Let clients load this server with `rstun bench --server-addr`'
complete -c rstun -n "__fish_rstun_using_subcommand server" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rstun -n "__fish_rstun_using_subcommand server" -s V -l version -d 'Print version'
complete -c rstun -n "__fish_rstun_using_subcommand client" -l server-addr -d 'Server to connect to, repeatable; the port is 6060 if left out, and any of a range 6060-6099. The first server that can be had is used, and the others stand by' -r
complete -c rstun -n "__fish_rstun_using_subcommand client" -l mode -d 'Direction of each --addr-mapping' -r -f -a "TunnelOut\t'The client listens, traffic goes out at the server\'s side'
TunnelIn\t'The server listens, traffic comes in to the client\'s side'"
complete -c rstun -n "__fish_rstun_using_subcommand client" -l addr-mapping -d 'Tunnel in the direction of --mode, repeatable' -r
complete -c rstun -n "__fish_rstun_using_subcommand client" -s L -l tunnel-out -d 'Listen on LOCAL here, dial REMOTE at the server, repeatable' -r
complete -c rstun -n "__fish_rstun_using_subcommand client" -s R -l tunnel-in -d 'Listen on REMOTE at the server, dial LOCAL here, repeatable; with socks5 or http as LOCAL, visitors say what to dial' -r
complete -c rstun -n "__fish_rstun_using_subcommand client" -s D -l dynamic -d 'Proxy here whose visitors go out at the server, repeatable: SOCKS5, or HTTP by http://' -r
complete -c rstun -n "__fish_rstun_using_subcommand client" -l ticket-file -d 'File with a ticket in its first line, which nobody else may read [else: RSTUN_TICKET]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand client" -l password -d 'Password; others on this machine can see it in the list of processes' -r
complete -c rstun -n "__fish_rstun_using_subcommand client" -l password-file -d 'File with the password in its first line, which nobody else may read [else: RSTUN_PASSWORD, systemd\'s credential \'password\', or a prompt]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand client" -l name -d 'Log in as the client of this name in the server\'s --clients; the password is its secret' -r
complete -c rstun -n "__fish_rstun_using_subcommand client" -l identity -d 'Log in by the key in this file, which `rstun keygen --client` made' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand client" -l cert -d 'Copy of the server\'s certificate, DER or PEM; repeatable, and one that fits will do [default: certificate.der in the configuration directory]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand client" -l pin -d 'In place of --cert the SHA-256 of the server\'s certificate, as keygen and the server print it; repeatable, and one that fits will do' -r
complete -c rstun -n "__fish_rstun_using_subcommand client" -l trust -d 'In place of both, whom to ask' -r -f -a "system\t'The authorities that this system trusts, for the name in --server-addr'
first-use\t'Nobody the first time; then its certificate has to stay the same'"
complete -c rstun -n "__fish_rstun_using_subcommand client" -l transport -d 'What carries the connection to the server' -r -f -a "auto\t'QUIC, and while UDP is blocked TCP'
quic\t'QUIC alone, which needs UDP'
tcp\t'TLS over TCP alone'"
complete -c rstun -n "__fish_rstun_using_subcommand client" -l proxy -d 'HTTP proxy that TCP is to go through [default: that of HTTPS_PROXY, but for servers of NO_PROXY]' -r
complete -c rstun -n "__fish_rstun_using_subcommand client" -l congestion -d 'Congestion control of what this side sends' -r -f -a "bbr\t'Our own, after BBRv3: measures the path, and takes no random loss for congestion'
cubic\t'What most of TCP does'
newreno\t'What TCP did before that'"
complete -c rstun -n "__fish_rstun_using_subcommand client" -l idle-timeout -d 'Silence after which a connection is lost, with what goes through it; the other side may allow less' -r
complete -c rstun -n "__fish_rstun_using_subcommand client" -l udp-timeout -d 'Silence after which a UDP flow is over, where its tunnel has no ?timeout=' -r
complete -c rstun -n "__fish_rstun_using_subcommand client" -l hop-interval -d 'Move to a new local port after so long, a quarter more or less, and to another of the server\'s if its address has a range of them; flows go on' -r
complete -c rstun -n "__fish_rstun_using_subcommand client" -l drain -d 'Time that open connections have to finish after Ctrl-C or SIGTERM' -r
complete -c rstun -n "__fish_rstun_using_subcommand client" -l metrics -d 'TCP address for the status page at / and Prometheus\' /metrics; a bare port is at 127.0.0.1' -r
complete -c rstun -n "__fish_rstun_using_subcommand client" -l metrics-token-file -d 'File with the token that both of them ask for [default: metrics-token in the state directory, made if it is not there]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand client" -l health -d 'TCP address for /healthz and /readyz, which ask for nothing; may be that of --metrics' -r
complete -c rstun -n "__fish_rstun_using_subcommand client" -l config -d 'File with flags by their names, in TOML; what is typed or set as RSTUN_<FLAG> counts more [default: server.toml or client.toml in the configuration directory, if it is there]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand client" -l log -d 'What log lines look like' -r -f -a "text\t'For people, and for systemd\'s journal'
json\t'An object a line, for programs'"
complete -c rstun -n "__fish_rstun_using_subcommand client" -l all-servers -d 'Connect to each --server-addr: tunnels into this machine are open at all of them, and those out of it go through the nearest'
complete -c rstun -n "__fish_rstun_using_subcommand client" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rstun -n "__fish_rstun_using_subcommand client" -s V -l version -d 'Print version'
complete -c rstun -n "__fish_rstun_using_subcommand connect" -l server-addr -d 'Server to go through, by a running client of it or else by a connection of its own, repeatable as for the client [default: that of the client that runs]' -r
complete -c rstun -n "__fish_rstun_using_subcommand connect" -l ticket-file -d 'File with a ticket in its first line, which nobody else may read [else: RSTUN_TICKET]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand connect" -l password -d 'Password; others on this machine can see it in the list of processes' -r
complete -c rstun -n "__fish_rstun_using_subcommand connect" -l password-file -d 'File with the password in its first line, which nobody else may read [else: RSTUN_PASSWORD, systemd\'s credential \'password\', or a prompt]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand connect" -l name -d 'Log in as the client of this name in the server\'s --clients; the password is its secret' -r
complete -c rstun -n "__fish_rstun_using_subcommand connect" -l identity -d 'Log in by the key in this file, which `rstun keygen --client` made' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand connect" -l cert -d 'Copy of the server\'s certificate, DER or PEM; repeatable, and one that fits will do [default: certificate.der in the configuration directory]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand connect" -l pin -d 'In place of --cert the SHA-256 of the server\'s certificate, as keygen and the server print it; repeatable, and one that fits will do' -r
complete -c rstun -n "__fish_rstun_using_subcommand connect" -l trust -d 'In place of both, whom to ask' -r -f -a "system\t'The authorities that this system trusts, for the name in --server-addr'
first-use\t'Nobody the first time; then its certificate has to stay the same'"
complete -c rstun -n "__fish_rstun_using_subcommand connect" -l transport -d 'What carries the connection to the server' -r -f -a "auto\t'QUIC, and while UDP is blocked TCP'
quic\t'QUIC alone, which needs UDP'
tcp\t'TLS over TCP alone'"
complete -c rstun -n "__fish_rstun_using_subcommand connect" -l proxy -d 'HTTP proxy that TCP is to go through [default: that of HTTPS_PROXY, but for servers of NO_PROXY]' -r
complete -c rstun -n "__fish_rstun_using_subcommand connect" -l congestion -d 'Congestion control of what this side sends' -r -f -a "bbr\t'Our own, after BBRv3: measures the path, and takes no random loss for congestion'
cubic\t'What most of TCP does'
newreno\t'What TCP did before that'"
complete -c rstun -n "__fish_rstun_using_subcommand connect" -l config -d 'File with flags by their names, in TOML; what is typed or set as RSTUN_<FLAG> counts more [default: server.toml or client.toml in the configuration directory, if it is there]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand connect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rstun -n "__fish_rstun_using_subcommand connect" -s V -l version -d 'Print version'
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and not __fish_seen_subcommand_from add remove list help" -s h -l help -d 'Print help'
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and not __fish_seen_subcommand_from add remove list help" -s V -l version -d 'Print version'
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and not __fish_seen_subcommand_from add remove list help" -f -a "add" -d 'Open tunnels beside those that the client has, until it ends'
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and not __fish_seen_subcommand_from add remove list help" -f -a "remove" -d 'Close tunnels; connections that are open have the time of its --drain'
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and not __fish_seen_subcommand_from add remove list help" -f -a "list" -d 'Show the client\'s tunnels and where they can be reached'
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and not __fish_seen_subcommand_from add remove list help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and __fish_seen_subcommand_from add" -s L -l tunnel-out -d 'As of `rstun client`: listen on LOCAL at the client, dial REMOTE at the server' -r
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and __fish_seen_subcommand_from add" -s R -l tunnel-in -d 'As of `rstun client`: listen on REMOTE at the server, dial LOCAL at the client' -r
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and __fish_seen_subcommand_from add" -s D -l dynamic -d 'As of `rstun client`: a proxy at the client' -r
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and __fish_seen_subcommand_from add" -l pid -d 'The process that is meant, where several run' -r
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and __fish_seen_subcommand_from add" -l socket -d 'Its control socket, where it is not in a usual place' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and __fish_seen_subcommand_from add" -s V -l version -d 'Print version'
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and __fish_seen_subcommand_from remove" -s L -l tunnel-out -d 'As of `rstun client`: listen on LOCAL at the client, dial REMOTE at the server' -r
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and __fish_seen_subcommand_from remove" -s R -l tunnel-in -d 'As of `rstun client`: listen on REMOTE at the server, dial LOCAL at the client' -r
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and __fish_seen_subcommand_from remove" -s D -l dynamic -d 'As of `rstun client`: a proxy at the client' -r
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and __fish_seen_subcommand_from remove" -l pid -d 'The process that is meant, where several run' -r
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and __fish_seen_subcommand_from remove" -l socket -d 'Its control socket, where it is not in a usual place' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and __fish_seen_subcommand_from remove" -s V -l version -d 'Print version'
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and __fish_seen_subcommand_from list" -l pid -d 'The process that is meant, where several run' -r
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and __fish_seen_subcommand_from list" -l socket -d 'Its control socket, where it is not in a usual place' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and __fish_seen_subcommand_from list" -l json -d 'Print JSON in place of a table'
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and __fish_seen_subcommand_from help" -f -a "add" -d 'Open tunnels beside those that the client has, until it ends'
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Close tunnels; connections that are open have the time of its --drain'
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and __fish_seen_subcommand_from help" -f -a "list" -d 'Show the client\'s tunnels and where they can be reached'
complete -c rstun -n "__fish_rstun_using_subcommand tunnel; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c rstun -n "__fish_rstun_using_subcommand reload" -l pid -d 'The process that is meant, where several run' -r
complete -c rstun -n "__fish_rstun_using_subcommand reload" -l socket -d 'Its control socket, where it is not in a usual place' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand reload" -s h -l help -d 'Print help'
complete -c rstun -n "__fish_rstun_using_subcommand reload" -s V -l version -d 'Print version'
complete -c rstun -n "__fish_rstun_using_subcommand stop" -l pid -d 'The process that is meant, where several run' -r
complete -c rstun -n "__fish_rstun_using_subcommand stop" -l socket -d 'Its control socket, where it is not in a usual place' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand stop" -s h -l help -d 'Print help'
complete -c rstun -n "__fish_rstun_using_subcommand stop" -s V -l version -d 'Print version'
complete -c rstun -n "__fish_rstun_using_subcommand status" -l pid -d 'The process that is meant, where several run' -r
complete -c rstun -n "__fish_rstun_using_subcommand status" -l socket -d 'Its control socket, where it is not in a usual place' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand status" -l json -d 'Print JSON, in one line'
complete -c rstun -n "__fish_rstun_using_subcommand status" -l watch -d 'Go on showing it, once a second, until q or Ctrl-C; with --json in a line each'
complete -c rstun -n "__fish_rstun_using_subcommand status" -s h -l help -d 'Print help'
complete -c rstun -n "__fish_rstun_using_subcommand status" -s V -l version -d 'Print version'
complete -c rstun -n "__fish_rstun_using_subcommand check; and not __fish_seen_subcommand_from server client help" -l config -d 'File whose flags are checked [default: the one in the configuration directory]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand check; and not __fish_seen_subcommand_from server client help" -s h -l help -d 'Print help'
complete -c rstun -n "__fish_rstun_using_subcommand check; and not __fish_seen_subcommand_from server client help" -s V -l version -d 'Print version'
complete -c rstun -n "__fish_rstun_using_subcommand check; and not __fish_seen_subcommand_from server client help" -f -a "server" -d 'What `rstun server` would do with the same flags'
complete -c rstun -n "__fish_rstun_using_subcommand check; and not __fish_seen_subcommand_from server client help" -f -a "client" -d 'What `rstun client` would do with the same flags'
complete -c rstun -n "__fish_rstun_using_subcommand check; and not __fish_seen_subcommand_from server client help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from server" -l addr -d 'Address to listen on, by UDP and by TCP; a bare port means all addresses, and a range 6060-6099 all of its ports by UDP, for clients to change between' -r
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from server" -l downstream -d 'What clients may reach, repeatable: HOST:PORT, NETWORK:FIRST-LAST, udp://HOST:PORT or unix:///PATH; a bare port is at 127.0.0.1' -r
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from server" -l unix-dir -d 'Directory in which TunnelIn may listen on Unix sockets [default: none]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from server" -l password -d 'Password; others on this machine can see it in the list of processes' -r
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from server" -l password-file -d 'File with the password in its first line, which nobody else may read [else: RSTUN_PASSWORD, systemd\'s credential \'password\', or a prompt]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from server" -l clients -d 'Clients with entries of their own: who each is and what it may do, in TOML; changes count at once' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from server" -l cert -d 'Certificate or chain, DER or PEM [default: certificate.der in the configuration directory, or else one that the server makes for itself]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from server" -l key -d 'Private key of the certificate, DER or PEM [default: priv_key.der beside it]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from server" -l congestion -d 'Congestion control of what this side sends' -r -f -a "bbr\t'Our own, after BBRv3: measures the path, and takes no random loss for congestion'
cubic\t'What most of TCP does'
newreno\t'What TCP did before that'"
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from server" -l idle-timeout -d 'Silence after which a connection is lost, with what goes through it; the other side may allow less' -r
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from server" -l udp-timeout -d 'Silence after which a UDP flow is over, where its tunnel has no ?timeout=' -r
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from server" -l drain -d 'Time that open connections have to finish after Ctrl-C or SIGTERM' -r
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from server" -l audit-log -d 'File to add a line of JSON to for each login, refusal, tunnel and denied target' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from server" -l metrics -d 'TCP address for the status page at / and Prometheus\' /metrics; a bare port is at 127.0.0.1' -r
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from server" -l metrics-token-file -d 'File with the token that both of them ask for [default: metrics-token in the state directory, made if it is not there]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from server" -l health -d 'TCP address for /healthz and /readyz, which ask for nothing; may be that of --metrics' -r
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from server" -l config -d 'File with flags by their names, in TOML; what is typed or set as RSTUN_<FLAG> counts more [default: server.toml or client.toml in the configuration directory, if it is there]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from server" -l log -d 'What log lines look like' -r -f -a "text\t'For people, and for systemd\'s journal'
json\t'An object a line, for programs'"
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from server" -l user -d 'User to go on as when the port is bound, if started by root' -r
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from server" -l qr -d 'Show clients\' ticket as a QR code too'
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from server" -l allow-bench -d 'Let clients load this server with `rstun bench --server-addr`'
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from server" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from server" -s V -l version -d 'Print version'
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -l server-addr -d 'Server to connect to, repeatable; the port is 6060 if left out, and any of a range 6060-6099. The first server that can be had is used, and the others stand by' -r
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -l mode -d 'Direction of each --addr-mapping' -r -f -a "TunnelOut\t'The client listens, traffic goes out at the server\'s side'
TunnelIn\t'The server listens, traffic comes in to the client\'s side'"
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -l addr-mapping -d 'Tunnel in the direction of --mode, repeatable' -r
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -s L -l tunnel-out -d 'Listen on LOCAL here, dial REMOTE at the server, repeatable' -r
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -s R -l tunnel-in -d 'Listen on REMOTE at the server, dial LOCAL here, repeatable; with socks5 or http as LOCAL, visitors say what to dial' -r
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -s D -l dynamic -d 'Proxy here whose visitors go out at the server, repeatable: SOCKS5, or HTTP by http://' -r
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -l ticket-file -d 'File with a ticket in its first line, which nobody else may read [else: RSTUN_TICKET]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -l password -d 'Password; others on this machine can see it in the list of processes' -r
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -l password-file -d 'File with the password in its first line, which nobody else may read [else: RSTUN_PASSWORD, systemd\'s credential \'password\', or a prompt]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -l name -d 'Log in as the client of this name in the server\'s --clients; the password is its secret' -r
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -l identity -d 'Log in by the key in this file, which `rstun keygen --client` made' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -l cert -d 'Copy of the server\'s certificate, DER or PEM; repeatable, and one that fits will do [default: certificate.der in the configuration directory]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -l pin -d 'In place of --cert the SHA-256 of the server\'s certificate, as keygen and the server print it; repeatable, and one that fits will do' -r
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -l trust -d 'In place of both, whom to ask' -r -f -a "system\t'The authorities that this system trusts, for the name in --server-addr'
first-use\t'Nobody the first time; then its certificate has to stay the same'"
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -l transport -d 'What carries the connection to the server' -r -f -a "auto\t'QUIC, and while UDP is blocked TCP'
quic\t'QUIC alone, which needs UDP'
tcp\t'TLS over TCP alone'"
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -l proxy -d 'HTTP proxy that TCP is to go through [default: that of HTTPS_PROXY, but for servers of NO_PROXY]' -r
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -l congestion -d 'Congestion control of what this side sends' -r -f -a "bbr\t'Our own, after BBRv3: measures the path, and takes no random loss for congestion'
cubic\t'What most of TCP does'
newreno\t'What TCP did before that'"
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -l idle-timeout -d 'Silence after which a connection is lost, with what goes through it; the other side may allow less' -r
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -l udp-timeout -d 'Silence after which a UDP flow is over, where its tunnel has no ?timeout=' -r
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -l hop-interval -d 'Move to a new local port after so long, a quarter more or less, and to another of the server\'s if its address has a range of them; flows go on' -r
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -l drain -d 'Time that open connections have to finish after Ctrl-C or SIGTERM' -r
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -l metrics -d 'TCP address for the status page at / and Prometheus\' /metrics; a bare port is at 127.0.0.1' -r
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -l metrics-token-file -d 'File with the token that both of them ask for [default: metrics-token in the state directory, made if it is not there]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -l health -d 'TCP address for /healthz and /readyz, which ask for nothing; may be that of --metrics' -r
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -l config -d 'File with flags by their names, in TOML; what is typed or set as RSTUN_<FLAG> counts more [default: server.toml or client.toml in the configuration directory, if it is there]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -l log -d 'What log lines look like' -r -f -a "text\t'For people, and for systemd\'s journal'
json\t'An object a line, for programs'"
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -l all-servers -d 'Connect to each --server-addr: tunnels into this machine are open at all of them, and those out of it go through the nearest'
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from client" -s V -l version -d 'Print version'
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from help" -f -a "server" -d 'What `rstun server` would do with the same flags'
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from help" -f -a "client" -d 'What `rstun client` would do with the same flags'
complete -c rstun -n "__fish_rstun_using_subcommand check; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c rstun -n "__fish_rstun_using_subcommand ticket" -l addr -d 'Address by which clients reach the server, repeatable, the best first [default: what look like this machine\'s addresses]' -r
complete -c rstun -n "__fish_rstun_using_subcommand ticket" -l for -d 'Client that it is for; if it has no entry in --clients yet, one is added' -r
complete -c rstun -n "__fish_rstun_using_subcommand ticket" -l listen -d 'Where the server listens, as its own --addr says' -r
complete -c rstun -n "__fish_rstun_using_subcommand ticket" -l clients -d 'The server\'s clients that have entries of their own' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand ticket" -l password -d 'Password; others on this machine can see it in the list of processes' -r
complete -c rstun -n "__fish_rstun_using_subcommand ticket" -l password-file -d 'File with the password in its first line, which nobody else may read [else: RSTUN_PASSWORD, systemd\'s credential \'password\', or a prompt]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand ticket" -l cert -d 'Certificate or chain, DER or PEM [default: certificate.der in the configuration directory, or else one that the server makes for itself]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand ticket" -l key -d 'Private key of the certificate, DER or PEM [default: priv_key.der beside it]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand ticket" -l config -d 'File with flags by their names, in TOML; what is typed or set as RSTUN_<FLAG> counts more [default: server.toml or client.toml in the configuration directory, if it is there]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand ticket" -l qr -d 'Show it as a QR code too'
complete -c rstun -n "__fish_rstun_using_subcommand ticket" -s h -l help -d 'Print help'
complete -c rstun -n "__fish_rstun_using_subcommand ticket" -s V -l version -d 'Print version'
complete -c rstun -n "__fish_rstun_using_subcommand service; and not __fish_seen_subcommand_from install uninstall help" -s h -l help -d 'Print help'
complete -c rstun -n "__fish_rstun_using_subcommand service; and not __fish_seen_subcommand_from install uninstall help" -s V -l version -d 'Print version'
complete -c rstun -n "__fish_rstun_using_subcommand service; and not __fish_seen_subcommand_from install uninstall help" -f -a "install" -d 'Write a unit for systemd, and enable it'
complete -c rstun -n "__fish_rstun_using_subcommand service; and not __fish_seen_subcommand_from install uninstall help" -f -a "uninstall" -d 'Stop a service, and take its unit away; configuration and state stay'
complete -c rstun -n "__fish_rstun_using_subcommand service; and not __fish_seen_subcommand_from install uninstall help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c rstun -n "__fish_rstun_using_subcommand service; and __fish_seen_subcommand_from install" -l name -d 'Which client, as there may be several' -r
complete -c rstun -n "__fish_rstun_using_subcommand service; and __fish_seen_subcommand_from install" -l root -d 'Another system\'s root directory to install into, where rstun is /usr/bin/rstun' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand service; and __fish_seen_subcommand_from install" -l user -d 'A service of this user\'s, in place of one of the system\'s'
complete -c rstun -n "__fish_rstun_using_subcommand service; and __fish_seen_subcommand_from install" -l dry-run -d 'Say what would be done, with the unit\'s text, and do nothing'
complete -c rstun -n "__fish_rstun_using_subcommand service; and __fish_seen_subcommand_from install" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rstun -n "__fish_rstun_using_subcommand service; and __fish_seen_subcommand_from install" -s V -l version -d 'Print version'
complete -c rstun -n "__fish_rstun_using_subcommand service; and __fish_seen_subcommand_from uninstall" -l name -d 'Which client, as there may be several' -r
complete -c rstun -n "__fish_rstun_using_subcommand service; and __fish_seen_subcommand_from uninstall" -l root -d 'Another system\'s root directory to install into, where rstun is /usr/bin/rstun' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand service; and __fish_seen_subcommand_from uninstall" -l user -d 'A service of this user\'s, in place of one of the system\'s'
complete -c rstun -n "__fish_rstun_using_subcommand service; and __fish_seen_subcommand_from uninstall" -l dry-run -d 'Say what would be done, with the unit\'s text, and do nothing'
complete -c rstun -n "__fish_rstun_using_subcommand service; and __fish_seen_subcommand_from uninstall" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rstun -n "__fish_rstun_using_subcommand service; and __fish_seen_subcommand_from uninstall" -s V -l version -d 'Print version'
complete -c rstun -n "__fish_rstun_using_subcommand service; and __fish_seen_subcommand_from help" -f -a "install" -d 'Write a unit for systemd, and enable it'
complete -c rstun -n "__fish_rstun_using_subcommand service; and __fish_seen_subcommand_from help" -f -a "uninstall" -d 'Stop a service, and take its unit away; configuration and state stay'
complete -c rstun -n "__fish_rstun_using_subcommand service; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c rstun -n "__fish_rstun_using_subcommand keygen" -l out-dir -d 'Directory for the files, made if it is not there' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand keygen" -l host -d 'Name or IP address to write into the certificate, repeatable' -r
complete -c rstun -n "__fish_rstun_using_subcommand keygen" -l client -d 'Make a key for this client in place of a server\'s, in NAME.pem, and print the client\'s entry' -r
complete -c rstun -n "__fish_rstun_using_subcommand keygen" -l days -d 'Days until the certificate expires (rstun\'s own clients compare bytes, not dates)' -r
complete -c rstun -n "__fish_rstun_using_subcommand keygen" -l secret -d 'Make the client a secret in place of a key, in NAME.secret'
complete -c rstun -n "__fish_rstun_using_subcommand keygen" -l force -d 'Replace files that are there'
complete -c rstun -n "__fish_rstun_using_subcommand keygen" -s h -l help -d 'Print help'
complete -c rstun -n "__fish_rstun_using_subcommand keygen" -s V -l version -d 'Print version'
complete -c rstun -n "__fish_rstun_using_subcommand bench" -l seconds -d 'Time for each measurement' -r
complete -c rstun -n "__fish_rstun_using_subcommand bench" -l streams -d 'How many connections carry the bulk data, each number measured in turn' -r
complete -c rstun -n "__fish_rstun_using_subcommand bench" -l scenario -d 'What to measure, repeatable [default: all]' -r -f -a "up\t'Bulk data from the client to the server'
down\t'Bulk data from the server to the client'
requests\t'Time from a request to its answer, one at a time'
flows\t'New connections in a second, 8 at a time'
idle\t'Memory for each of 1000 connections that do nothing (on Linux)'"
complete -c rstun -n "__fish_rstun_using_subcommand bench" -l payload -d 'Size of a request, and of its answer' -r
complete -c rstun -n "__fish_rstun_using_subcommand bench" -l server-addr -d 'Server to measure, started with --allow-bench, in place of one in this process; the port is 6060 if left out' -r
complete -c rstun -n "__fish_rstun_using_subcommand bench" -l transport -d 'What carries the connection to the server' -r -f -a "auto\t'QUIC, and while UDP is blocked TCP'
quic\t'QUIC alone, which needs UDP'
tcp\t'TLS over TCP alone'"
complete -c rstun -n "__fish_rstun_using_subcommand bench" -l proxy -d 'HTTP proxy that TCP is to go through [default: that of HTTPS_PROXY, but for servers of NO_PROXY]' -r
complete -c rstun -n "__fish_rstun_using_subcommand bench" -l congestion -d 'Congestion control of what this side sends' -r -f -a "bbr\t'Our own, after BBRv3: measures the path, and takes no random loss for congestion'
cubic\t'What most of TCP does'
newreno\t'What TCP did before that'"
complete -c rstun -n "__fish_rstun_using_subcommand bench" -l ticket-file -d 'File with a ticket in its first line, which nobody else may read [else: RSTUN_TICKET]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand bench" -l password -d 'Password; others on this machine can see it in the list of processes' -r
complete -c rstun -n "__fish_rstun_using_subcommand bench" -l password-file -d 'File with the password in its first line, which nobody else may read [else: RSTUN_PASSWORD, systemd\'s credential \'password\', or a prompt]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand bench" -l name -d 'Log in as the client of this name in the server\'s --clients; the password is its secret' -r
complete -c rstun -n "__fish_rstun_using_subcommand bench" -l identity -d 'Log in by the key in this file, which `rstun keygen --client` made' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand bench" -l cert -d 'Copy of the server\'s certificate, DER or PEM; repeatable, and one that fits will do [default: certificate.der in the configuration directory]' -r -F
complete -c rstun -n "__fish_rstun_using_subcommand bench" -l pin -d 'In place of --cert the SHA-256 of the server\'s certificate, as keygen and the server print it; repeatable, and one that fits will do' -r
complete -c rstun -n "__fish_rstun_using_subcommand bench" -l trust -d 'In place of both, whom to ask' -r -f -a "system\t'The authorities that this system trusts, for the name in --server-addr'
first-use\t'Nobody the first time; then its certificate has to stay the same'"
complete -c rstun -n "__fish_rstun_using_subcommand bench" -l json -d 'Print JSON in place of a table'
complete -c rstun -n "__fish_rstun_using_subcommand bench" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rstun -n "__fish_rstun_using_subcommand bench" -s V -l version -d 'Print version'
complete -c rstun -n "__fish_rstun_using_subcommand help; and not __fish_seen_subcommand_from server client connect tunnel reload stop status check ticket service keygen bench help" -f -a "server" -d 'Stand where both sides reach it, and carry clients\' tunnels'
complete -c rstun -n "__fish_rstun_using_subcommand help; and not __fish_seen_subcommand_from server client connect tunnel reload stop status check ticket service keygen bench help" -f -a "client" -d 'Connect to a server, and keep tunnels up'
complete -c rstun -n "__fish_rstun_using_subcommand help; and not __fish_seen_subcommand_from server client connect tunnel reload stop status check ticket service keygen bench help" -f -a "connect" -d 'Connect standard input and output to a target at the server\'s side, once'
complete -c rstun -n "__fish_rstun_using_subcommand help; and not __fish_seen_subcommand_from server client connect tunnel reload stop status check ticket service keygen bench help" -f -a "tunnel" -d 'Change or show the tunnels of a client that runs'
complete -c rstun -n "__fish_rstun_using_subcommand help; and not __fish_seen_subcommand_from server client connect tunnel reload stop status check ticket service keygen bench help" -f -a "reload" -d 'Have a server or a client that runs read its configuration again'
complete -c rstun -n "__fish_rstun_using_subcommand help; and not __fish_seen_subcommand_from server client connect tunnel reload stop status check ticket service keygen bench help" -f -a "stop" -d 'Have a server or a client that runs end in order'
complete -c rstun -n "__fish_rstun_using_subcommand help; and not __fish_seen_subcommand_from server client connect tunnel reload stop status check ticket service keygen bench help" -f -a "status" -d 'Show how a server or a client is that runs'
complete -c rstun -n "__fish_rstun_using_subcommand help; and not __fish_seen_subcommand_from server client connect tunnel reload stop status check ticket service keygen bench help" -f -a "check" -d 'Check a server\'s or a client\'s flags and files, and the way to the server, step by step'
complete -c rstun -n "__fish_rstun_using_subcommand help; and not __fish_seen_subcommand_from server client connect tunnel reload stop status check ticket service keygen bench help" -f -a "ticket" -d 'Print what a client needs to know of the server here, as one word'
complete -c rstun -n "__fish_rstun_using_subcommand help; and not __fish_seen_subcommand_from server client connect tunnel reload stop status check ticket service keygen bench help" -f -a "service" -d 'Have systemd run a server or a client'
complete -c rstun -n "__fish_rstun_using_subcommand help; and not __fish_seen_subcommand_from server client connect tunnel reload stop status check ticket service keygen bench help" -f -a "keygen" -d 'Make a key and a certificate for a server, or a client\'s key or secret'
complete -c rstun -n "__fish_rstun_using_subcommand help; and not __fish_seen_subcommand_from server client connect tunnel reload stop status check ticket service keygen bench help" -f -a "bench" -d 'Measure what a tunnel does, on this machine or to a server'
complete -c rstun -n "__fish_rstun_using_subcommand help; and not __fish_seen_subcommand_from server client connect tunnel reload stop status check ticket service keygen bench help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c rstun -n "__fish_rstun_using_subcommand help; and __fish_seen_subcommand_from tunnel" -f -a "add" -d 'Open tunnels beside those that the client has, until it ends'
complete -c rstun -n "__fish_rstun_using_subcommand help; and __fish_seen_subcommand_from tunnel" -f -a "remove" -d 'Close tunnels; connections that are open have the time of its --drain'
complete -c rstun -n "__fish_rstun_using_subcommand help; and __fish_seen_subcommand_from tunnel" -f -a "list" -d 'Show the client\'s tunnels and where they can be reached'
complete -c rstun -n "__fish_rstun_using_subcommand help; and __fish_seen_subcommand_from check" -f -a "server" -d 'What `rstun server` would do with the same flags'
complete -c rstun -n "__fish_rstun_using_subcommand help; and __fish_seen_subcommand_from check" -f -a "client" -d 'What `rstun client` would do with the same flags'
complete -c rstun -n "__fish_rstun_using_subcommand help; and __fish_seen_subcommand_from service" -f -a "install" -d 'Write a unit for systemd, and enable it'
complete -c rstun -n "__fish_rstun_using_subcommand help; and __fish_seen_subcommand_from service" -f -a "uninstall" -d 'Stop a service, and take its unit away; configuration and state stay'
