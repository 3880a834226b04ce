# rstun alone, in an image of nothing else, as a user without rights:
#   docker build -t rstun .
#   docker run -p 6060:6060/udp -p 6060:6060/tcp -v rstun:/var/lib/rstun rstun server ...
# On Alpine the program is linked statically with musl.

FROM rust:1-alpine AS build
RUN apk add --no-cache build-base ca-certificates
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin rstun
WORKDIR /image
RUN mkdir -p usr/bin etc/rstun etc/ssl/certs var/lib/rstun tmp \
    && cp /src/target/release/rstun usr/bin/ \
    && ln -s rstun usr/bin/rstund && ln -s rstun usr/bin/rstunc \
    && cp /etc/ssl/certs/ca-certificates.crt etc/ssl/certs/ \
    && chmod 1777 tmp && chmod 0700 var/lib/rstun && chown -R 65534:65534 var/lib/rstun

FROM scratch
COPY --from=build /image/ /
# server.toml or client.toml in /etc/rstun, what it makes itself in /var/lib/rstun.
ENV XDG_CONFIG_HOME=/etc XDG_STATE_HOME=/var/lib HOME=/var/lib/rstun
USER 65534:65534
EXPOSE 6060/udp 6060/tcp
ENTRYPOINT ["/usr/bin/rstun"]
CMD ["server"]
