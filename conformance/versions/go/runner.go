package main

import _ "github.com/pharos-beam/pharos/sdks/go/pharos" // --runner=pharos
