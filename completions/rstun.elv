
use builtin;
use str;

set edit:completion:arg-completer[rstun] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'rstun'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'rstun'= {
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
            cand server 'Stand where both sides reach it, and carry clients'' tunnels'
            cand client 'Connect to a server, and keep tunnels up'
            cand connect 'Connect standard input and output to a target at the server''s side, once'
            cand tunnel 'Change or show the tunnels of a client that runs'
            cand reload 'Have a server or a client that runs read its configuration again'
            cand stop 'Have a server or a client that runs end in order'
            cand status 'Show how a server or a client is that runs'
            cand check 'Check a server''s or a client''s flags and files, and the way to the server, step by step'
            cand ticket 'Print what a client needs to know of the server here, as one word'
            cand service 'Have systemd run a server or a client'
            cand keygen 'Make a key and a certificate for a server, or a client''s key or secret'
            cand bench 'Measure what a tunnel does, on this machine or to a server'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'rstun;server'= {
            cand --addr 'Address to listen on, by UDP and by TCP; a bare port means all addresses, and a range 6060-6099 all of its ports by UDP, for clients to change between'
            cand --downstream 'What clients may reach, repeatable: HOST:PORT, NETWORK:FIRST-LAST, udp://HOST:PORT or unix:///PATH; a bare port is at 127.0.0.1'
            cand --unix-dir 'Directory in which TunnelIn may listen on Unix sockets [default: none]'
            cand --password 'Password; others on this machine can see it in the list of processes'
            cand --password-file 'File with the password in its first line, which nobody else may read [else: RSTUN_PASSWORD, systemd''s credential ''password'', or a prompt]'
            cand --clients 'Clients with entries of their own: who each is and what it may do, in TOML; changes count at once'
            cand --cert 'Certificate or chain, DER or PEM [default: certificate.der in the configuration directory, or else one that the server makes for itself]'
            cand --key 'Private key of the certificate, DER or PEM [default: priv_key.der beside it]'
            cand --congestion 'Congestion control of what this side sends'
            cand --idle-timeout 'Silence after which a connection is lost, with what goes through it; the other side may allow less'
            cand --udp-timeout 'Silence after which a UDP flow is over, where its tunnel has no ?timeout='
            cand --drain 'Time that open connections have to finish after Ctrl-C or SIGTERM'
            cand --audit-log 'File to add a line of JSON to for each login, refusal, tunnel and denied target'
            cand --metrics 'TCP address for the status page at / and Prometheus'' /metrics; a bare port is at 127.0.0.1'
            cand --metrics-token-file 'File with the token that both of them ask for [default: metrics-token in the state directory, made if it is not there]'
            cand --health 'TCP address for /healthz and /readyz, which ask for nothing; may be that of --metrics'
            cand --config 'File with flags by their names, in TOML; what is typed or set as RSTUN_<FLAG> counts more [default: server.toml or client.toml in the configuration directory, if it is there]'
            cand --log 'What log lines look like'
            cand --user 'User to go on as when the port is bound, if started by root'
            cand --qr 'Show clients'' ticket as a QR code too'
            cand --allow-bench 'Let clients load this server with `rstun bench --server-addr`'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'rstun;client'= {
            cand --server-addr 'Server to connect to, repeatable; the port is 6060 if left out, and any of a range 6060-6099. The first server that can be had is used, and the others stand by'
            cand --mode 'Direction of each --addr-mapping'
            cand --addr-mapping 'Tunnel in the direction of --mode, repeatable'
            cand -L 'Listen on LOCAL here, dial REMOTE at the server, repeatable'
            cand --tunnel-out 'Listen on LOCAL here, dial REMOTE at the server, repeatable'
            cand -R 'Listen on REMOTE at the server, dial LOCAL here, repeatable; with socks5 or http as LOCAL, visitors say what to dial'
            cand --tunnel-in 'Listen on REMOTE at the server, dial LOCAL here, repeatable; with socks5 or http as LOCAL, visitors say what to dial'
            cand -D 'Proxy here whose visitors go out at the server, repeatable: SOCKS5, or HTTP by http://'
            cand --dynamic 'Proxy here whose visitors go out at the server, repeatable: SOCKS5, or HTTP by http://'
            cand --ticket-file 'File with a ticket in its first line, which nobody else may read [else: RSTUN_TICKET]'
            cand --password 'Password; others on this machine can see it in the list of processes'
            cand --password-file 'File with the password in its first line, which nobody else may read [else: RSTUN_PASSWORD, systemd''s credential ''password'', or a prompt]'
            cand --name 'Log in as the client of this name in the server''s --clients; the password is its secret'
            cand --identity 'Log in by the key in this file, which `rstun keygen --client` made'
            cand --cert 'Copy of the server''s certificate, DER or PEM; repeatable, and one that fits will do [default: certificate.der in the configuration directory]'
            cand --pin 'In place of --cert the SHA-256 of the server''s certificate, as keygen and the server print it; repeatable, and one that fits will do'
            cand --trust 'In place of both, whom to ask'
            cand --transport 'What carries the connection to the server'
            cand --proxy 'HTTP proxy that TCP is to go through [default: that of HTTPS_PROXY, but for servers of NO_PROXY]'
            cand --congestion 'Congestion control of what this side sends'
            cand --idle-timeout 'Silence after which a connection is lost, with what goes through it; the other side may allow less'
            cand --udp-timeout 'Silence after which a UDP flow is over, where its tunnel has no ?timeout='
            cand --hop-interval 'Move to a new local port after so long, a quarter more or less, and to another of the server''s if its address has a range of them; flows go on'
            cand --drain 'Time that open connections have to finish after Ctrl-C or SIGTERM'
            cand --metrics 'TCP address for the status page at / and Prometheus'' /metrics; a bare port is at 127.0.0.1'
            cand --metrics-token-file 'File with the token that both of them ask for [default: metrics-token in the state directory, made if it is not there]'
            cand --health 'TCP address for /healthz and /readyz, which ask for nothing; may be that of --metrics'
            cand --config 'File with flags by their names, in TOML; what is typed or set as RSTUN_<FLAG> counts more [default: server.toml or client.toml in the configuration directory, if it is there]'
            cand --log 'What log lines look like'
            cand --all-servers 'Connect to each --server-addr: tunnels into this machine are open at all of them, and those out of it go through the nearest'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'rstun;connect'= {
            cand --server-addr 'Server to go through, by a running client of it or else by a connection of its own, repeatable as for the client [default: that of the client that runs]'
            cand --ticket-file 'File with a ticket in its first line, which nobody else may read [else: RSTUN_TICKET]'
            cand --password 'Password; others on this machine can see it in the list of processes'
            cand --password-file 'File with the password in its first line, which nobody else may read [else: RSTUN_PASSWORD, systemd''s credential ''password'', or a prompt]'
            cand --name 'Log in as the client of this name in the server''s --clients; the password is its secret'
            cand --identity 'Log in by the key in this file, which `rstun keygen --client` made'
            cand --cert 'Copy of the server''s certificate, DER or PEM; repeatable, and one that fits will do [default: certificate.der in the configuration directory]'
            cand --pin 'In place of --cert the SHA-256 of the server''s certificate, as keygen and the server print it; repeatable, and one that fits will do'
            cand --trust 'In place of both, whom to ask'
            cand --transport 'What carries the connection to the server'
            cand --proxy 'HTTP proxy that TCP is to go through [default: that of HTTPS_PROXY, but for servers of NO_PROXY]'
            cand --congestion 'Congestion control of what this side sends'
            cand --config 'File with flags by their names, in TOML; what is typed or set as RSTUN_<FLAG> counts more [default: server.toml or client.toml in the configuration directory, if it is there]'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'rstun;tunnel'= {
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
            cand add 'Open tunnels beside those that the client has, until it ends'
            cand remove 'Close tunnels; connections that are open have the time of its --drain'
            cand list 'Show the client''s tunnels and where they can be reached'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'rstun;tunnel;add'= {
            cand -L 'As of `rstun client`: listen on LOCAL at the client, dial REMOTE at the server'
            cand --tunnel-out 'As of `rstun client`: listen on LOCAL at the client, dial REMOTE at the server'
            cand -R 'As of `rstun client`: listen on REMOTE at the server, dial LOCAL at the client'
            cand --tunnel-in 'As of `rstun client`: listen on REMOTE at the server, dial LOCAL at the client'
            cand -D 'As of `rstun client`: a proxy at the client'
            cand --dynamic 'As of `rstun client`: a proxy at the client'
            cand --pid 'The process that is meant, where several run'
            cand --socket 'Its control socket, where it is not in a usual place'
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'rstun;tunnel;remove'= {
            cand -L 'As of `rstun client`: listen on LOCAL at the client, dial REMOTE at the server'
            cand --tunnel-out 'As of `rstun client`: listen on LOCAL at the client, dial REMOTE at the server'
            cand -R 'As of `rstun client`: listen on REMOTE at the server, dial LOCAL at the client'
            cand --tunnel-in 'As of `rstun client`: listen on REMOTE at the server, dial LOCAL at the client'
            cand -D 'As of `rstun client`: a proxy at the client'
            cand --dynamic 'As of `rstun client`: a proxy at the client'
            cand --pid 'The process that is meant, where several run'
            cand --socket 'Its control socket, where it is not in a usual place'
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'rstun;tunnel;list'= {
            cand --pid 'The process that is meant, where several run'
            cand --socket 'Its control socket, where it is not in a usual place'
            cand --json 'Print JSON in place of a table'
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'rstun;tunnel;help'= {
            cand add 'Open tunnels beside those that the client has, until it ends'
            cand remove 'Close tunnels; connections that are open have the time of its --drain'
            cand list 'Show the client''s tunnels and where they can be reached'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'rstun;tunnel;help;add'= {
        }
        &'rstun;tunnel;help;remove'= {
        }
        &'rstun;tunnel;help;list'= {
        }
        &'rstun;tunnel;help;help'= {
        }
        &'rstun;reload'= {
            cand --pid 'The process that is meant, where several run'
            cand --socket 'Its control socket, where it is not in a usual place'
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'rstun;stop'= {
            cand --pid 'The process that is meant, where several run'
            cand --socket 'Its control socket, where it is not in a usual place'
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'rstun;status'= {
            cand --pid 'The process that is meant, where several run'
            cand --socket 'Its control socket, where it is not in a usual place'
            cand --json 'Print JSON, in one line'
            cand --watch 'Go on showing it, once a second, until q or Ctrl-C; with --json in a line each'
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'rstun;check'= {
            cand --config 'File whose flags are checked [default: the one in the configuration directory]'
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
            cand server 'What `rstun server` would do with the same flags'
            cand client 'What `rstun client` would do with the same flags'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'rstun;check;server'= {
            cand --addr 'Address to listen on, by UDP and by TCP; a bare port means all addresses, and a range 6060-6099 all of its ports by UDP, for clients to change between'
            cand --downstream 'What clients may reach, repeatable: HOST:PORT, NETWORK:FIRST-LAST, udp://HOST:PORT or unix:///PATH; a bare port is at 127.0.0.1'
            cand --unix-dir 'Directory in which TunnelIn may listen on Unix sockets [default: none]'
            cand --password 'Password; others on this machine can see it in the list of processes'
            cand --password-file 'File with the password in its first line, which nobody else may read [else: RSTUN_PASSWORD, systemd''s credential ''password'', or a prompt]'
            cand --clients 'Clients with entries of their own: who each is and what it may do, in TOML; changes count at once'
            cand --cert 'Certificate or chain, DER or PEM [default: certificate.der in the configuration directory, or else one that the server makes for itself]'
            cand --key 'Private key of the certificate, DER or PEM [default: priv_key.der beside it]'
            cand --congestion 'Congestion control of what this side sends'
            cand --idle-timeout 'Silence after which a connection is lost, with what goes through it; the other side may allow less'
            cand --udp-timeout 'Silence after which a UDP flow is over, where its tunnel has no ?timeout='
            cand --drain 'Time that open connections have to finish after Ctrl-C or SIGTERM'
            cand --audit-log 'File to add a line of JSON to for each login, refusal, tunnel and denied target'
            cand --metrics 'TCP address for the status page at / and Prometheus'' /metrics; a bare port is at 127.0.0.1'
            cand --metrics-token-file 'File with the token that both of them ask for [default: metrics-token in the state directory, made if it is not there]'
            cand --health 'TCP address for /healthz and /readyz, which ask for nothing; may be that of --metrics'
            cand --config 'File with flags by their names, in TOML; what is typed or set as RSTUN_<FLAG> counts more [default: server.toml or client.toml in the configuration directory, if it is there]'
            cand --log 'What log lines look like'
            cand --user 'User to go on as when the port is bound, if started by root'
            cand --qr 'Show clients'' ticket as a QR code too'
            cand --allow-bench 'Let clients load this server with `rstun bench --server-addr`'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'rstun;check;client'= {
            cand --server-addr 'Server to connect to, repeatable; the port is 6060 if left out, and any of a range 6060-6099. The first server that can be had is used, and the others stand by'
            cand --mode 'Direction of each --addr-mapping'
            cand --addr-mapping 'Tunnel in the direction of --mode, repeatable'
            cand -L 'Listen on LOCAL here, dial REMOTE at the server, repeatable'
            cand --tunnel-out 'Listen on LOCAL here, dial REMOTE at the server, repeatable'
            cand -R 'Listen on REMOTE at the server, dial LOCAL here, repeatable; with socks5 or http as LOCAL, visitors say what to dial'
            cand --tunnel-in 'Listen on REMOTE at the server, dial LOCAL here, repeatable; with socks5 or http as LOCAL, visitors say what to dial'
            cand -D 'Proxy here whose visitors go out at the server, repeatable: SOCKS5, or HTTP by http://'
            cand --dynamic 'Proxy here whose visitors go out at the server, repeatable: SOCKS5, or HTTP by http://'
            cand --ticket-file 'File with a ticket in its first line, which nobody else may read [else: RSTUN_TICKET]'
            cand --password 'Password; others on this machine can see it in the list of processes'
            cand --password-file 'File with the password in its first line, which nobody else may read [else: RSTUN_PASSWORD, systemd''s credential ''password'', or a prompt]'
            cand --name 'Log in as the client of this name in the server''s --clients; the password is its secret'
            cand --identity 'Log in by the key in this file, which `rstun keygen --client` made'
            cand --cert 'Copy of the server''s certificate, DER or PEM; repeatable, and one that fits will do [default: certificate.der in the configuration directory]'
            cand --pin 'In place of --cert the SHA-256 of the server''s certificate, as keygen and the server print it; repeatable, and one that fits will do'
            cand --trust 'In place of both, whom to ask'
            cand --transport 'What carries the connection to the server'
            cand --proxy 'HTTP proxy that TCP is to go through [default: that of HTTPS_PROXY, but for servers of NO_PROXY]'
            cand --congestion 'Congestion control of what this side sends'
            cand --idle-timeout 'Silence after which a connection is lost, with what goes through it; the other side may allow less'
            cand --udp-timeout 'Silence after which a UDP flow is over, where its tunnel has no ?timeout='
            cand --hop-interval 'Move to a new local port after so long, a quarter more or less, and to another of the server''s if its address has a range of them; flows go on'
            cand --drain 'Time that open connections have to finish after Ctrl-C or SIGTERM'
            cand --metrics 'TCP address for the status page at / and Prometheus'' /metrics; a bare port is at 127.0.0.1'
            cand --metrics-token-file 'File with the token that both of them ask for [default: metrics-token in the state directory, made if it is not there]'
            cand --health 'TCP address for /healthz and /readyz, which ask for nothing; may be that of --metrics'
            cand --config 'File with flags by their names, in TOML; what is typed or set as RSTUN_<FLAG> counts more [default: server.toml or client.toml in the configuration directory, if it is there]'
            cand --log 'What log lines look like'
            cand --all-servers 'Connect to each --server-addr: tunnels into this machine are open at all of them, and those out of it go through the nearest'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'rstun;check;help'= {
            cand server 'What `rstun server` would do with the same flags'
            cand client 'What `rstun client` would do with the same flags'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'rstun;check;help;server'= {
        }
        &'rstun;check;help;client'= {
        }
        &'rstun;check;help;help'= {
        }
        &'rstun;ticket'= {
            cand --addr 'Address by which clients reach the server, repeatable, the best first [default: what look like this machine''s addresses]'
            cand --for 'Client that it is for; if it has no entry in --clients yet, one is added'
            cand --listen 'Where the server listens, as its own --addr says'
            cand --clients 'The server''s clients that have entries of their own'
            cand --password 'Password; others on this machine can see it in the list of processes'
            cand --password-file 'File with the password in its first line, which nobody else may read [else: RSTUN_PASSWORD, systemd''s credential ''password'', or a prompt]'
            cand --cert 'Certificate or chain, DER or PEM [default: certificate.der in the configuration directory, or else one that the server makes for itself]'
            cand --key 'Private key of the certificate, DER or PEM [default: priv_key.der beside it]'
            cand --config 'File with flags by their names, in TOML; what is typed or set as RSTUN_<FLAG> counts more [default: server.toml or client.toml in the configuration directory, if it is there]'
            cand --qr 'Show it as a QR code too'
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'rstun;service'= {
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
            cand install 'Write a unit for systemd, and enable it'
            cand uninstall 'Stop a service, and take its unit away; configuration and state stay'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'rstun;service;install'= {
            cand --name 'Which client, as there may be several'
            cand --root 'Another system''s root directory to install into, where rstun is /usr/bin/rstun'
            cand --user 'A service of this user''s, in place of one of the system''s'
            cand --dry-run 'Say what would be done, with the unit''s text, and do nothing'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'rstun;service;uninstall'= {
            cand --name 'Which client, as there may be several'
            cand --root 'Another system''s root directory to install into, where rstun is /usr/bin/rstun'
            cand --user 'A service of this user''s, in place of one of the system''s'
            cand --dry-run 'Say what would be done, with the unit''s text, and do nothing'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'rstun;service;help'= {
            cand install 'Write a unit for systemd, and enable it'
            cand uninstall 'Stop a service, and take its unit away; configuration and state stay'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'rstun;service;help;install'= {
        }
        &'rstun;service;help;uninstall'= {
        }
        &'rstun;service;help;help'= {
        }
        &'rstun;keygen'= {
            cand --out-dir 'Directory for the files, made if it is not there'
            cand --host 'Name or IP address to write into the certificate, repeatable'
            cand --client 'Make a key for this client in place of a server''s, in NAME.pem, and print the client''s entry'
            cand --days 'Days until the certificate expires (rstun''s own clients compare bytes, not dates)'
            cand --secret 'Make the client a secret in place of a key, in NAME.secret'
            cand --force 'Replace files that are there'
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'rstun;bench'= {
            cand --seconds 'Time for each measurement'
            cand --streams 'How many connections carry the bulk data, each number measured in turn'
            cand --scenario 'What to measure, repeatable [default: all]'
            cand --payload 'Size of a request, and of its answer'
            cand --server-addr 'Server to measure, started with --allow-bench, in place of one in this process; the port is 6060 if left out'
            cand --transport 'What carries the connection to the server'
            cand --proxy 'HTTP proxy that TCP is to go through [default: that of HTTPS_PROXY, but for servers of NO_PROXY]'
            cand --congestion 'Congestion control of what this side sends'
            cand --ticket-file 'File with a ticket in its first line, which nobody else may read [else: RSTUN_TICKET]'
            cand --password 'Password; others on this machine can see it in the list of processes'
            cand --password-file 'File with the password in its first line, which nobody else may read [else: RSTUN_PASSWORD, systemd''s credential ''password'', or a prompt]'
            cand --name 'Log in as the client of this name in the server''s --clients; the password is its secret'
            cand --identity 'Log in by the key in this file, which `rstun keygen --client` made'
            cand --cert 'Copy of the server''s certificate, DER or PEM; repeatable, and one that fits will do [default: certificate.der in the configuration directory]'
            cand --pin 'In place of --cert the SHA-256 of the server''s certificate, as keygen and the server print it; repeatable, and one that fits will do'
            cand --trust 'In place of both, whom to ask'
            cand --json 'Print JSON in place of a table'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'rstun;help'= {
            cand server 'Stand where both sides reach it, and carry clients'' tunnels'
            cand client 'Connect to a server, and keep tunnels up'
            cand connect 'Connect standard input and output to a target at the server''s side, once'
            cand tunnel 'Change or show the tunnels of a client that runs'
            cand reload 'Have a server or a client that runs read its configuration again'
            cand stop 'Have a server or a client that runs end in order'
            cand status 'Show how a server or a client is that runs'
            cand check 'Check a server''s or a client''s flags and files, and the way to the server, step by step'
            cand ticket 'Print what a client needs to know of the server here, as one word'
            cand service 'Have systemd run a server or a client'
            cand keygen 'Make a key and a certificate for a server, or a client''s key or secret'
            cand bench 'Measure what a tunnel does, on this machine or to a server'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'rstun;help;server'= {
        }
        &'rstun;help;client'= {
        }
        &'rstun;help;connect'= {
        }
        &'rstun;help;tunnel'= {
            cand add 'Open tunnels beside those that the client has, until it ends'
            cand remove 'Close tunnels; connections that are open have the time of its --drain'
            cand list 'Show the client''s tunnels and where they can be reached'
        }
        &'rstun;help;tunnel;add'= {
        }
        &'rstun;help;tunnel;remove'= {
        }
        &'rstun;help;tunnel;list'= {
        }
        &'rstun;help;reload'= {
        }
        &'rstun;help;stop'= {
        }
        &'rstun;help;status'= {
        }
        &'rstun;help;check'= {
            cand server 'What `rstun server` would do with the same flags'
            cand client 'What `rstun client` would do with the same flags'
        }
        &'rstun;help;check;server'= {
        }
        &'rstun;help;check;client'= {
        }
        &'rstun;help;ticket'= {
        }
        &'rstun;help;service'= {
            cand install 'Write a unit for systemd, and enable it'
            cand uninstall 'Stop a service, and take its unit away; configuration and state stay'
        }
        &'rstun;help;service;install'= {
        }
        &'rstun;help;service;uninstall'= {
        }
        &'rstun;help;keygen'= {
        }
        &'rstun;help;bench'= {
        }
        &'rstun;help;help'= {
        }
    ]
    $completions[$command]
}
