package main

import _ "github.com/popvote/popvote/apps/control-panel/server"

func main() {}
