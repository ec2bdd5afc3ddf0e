# The binary alone: docker build --build-arg VERSION=0.1.0 --tag openkenar .
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=0.1.0-dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X github.com/openkenar/openkenar/internal/cli.Version=$VERSION" -o /out/openkenar ./cmd/openkenar
RUN mkdir -m 700 /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/openkenar /usr/local/bin/openkenar
COPY --from=build --chown=65532:65532 /out/data /var/lib/openkenar
USER 65532:65532
WORKDIR /var/lib/openkenar
VOLUME /var/lib/openkenar
ENV PATH=/usr/local/bin OPENKENAR_DATA=/var/lib/openkenar OPENKENAR_LISTEN=0.0.0.0:7700
EXPOSE 7700
# Calls and sends under way have 15 seconds to end: docker stop --timeout 20.
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s CMD ["openkenar", "ready"]
ENTRYPOINT ["openkenar"]
CMD ["serve"]
