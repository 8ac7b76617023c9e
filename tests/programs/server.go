// SPDX-License-Identifier: GPL-3.0-or-later

// Answers each request with the name of the host, as the C library gives it, while goroutines keep all processors busy.
package main

/*
#include <unistd.h>
*/
import "C"

import (
	"net/http"
	"os"
)

// Each call needs stack of its own, so that the goroutine's stack is moved as it grows.
func descend(depth int) int {
	var numbers [64]byte
	for i := range numbers {
		numbers[i] = byte(depth)
	}
	if depth == 0 {
		return 0
	}
	below := descend(depth - 1)
	for i := range numbers {
		if numbers[i] != byte(depth) {
			panic("the stack has changed")
		}
	}
	return below + 1
}

func work() {
	for {
		for depth := 0; depth < 200; depth++ {
			if descend(depth) != depth {
				panic("the result has changed")
			}
		}
	}
}

func main() {
	go work()
	go work()
	http.HandleFunc("/", func(answer http.ResponseWriter, request *http.Request) {
		var name [256]C.char
		if C.gethostname(&name[0], C.size_t(len(name))) != 0 {
			panic("the host has no name")
		}
		answer.Write([]byte(C.GoString(&name[0])))
	})
	panic(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
